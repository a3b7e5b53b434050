// Package rangedtest is the conformance suite of the sinks that take ranges: the promises of ranged.Sink that a test can check
// on one sink. Every such sink runs it, on a fake of its service whose single requests can fail.
//
// # Contract
//
// The suite ships events through the sink as package ranged does: Recover, Add, Seal, Commit, Abort, with a checkpoint in memory
// and an older one on the disk. It checks that each event arrives, in order, with a failure of any request, in any way, and with a
// kill at any step. A sink that declares Exact has each event once. Another one has no event more often
// than the ranges whose outcome a kill has made unknown.
//
// A fake calls Plan.Next for each request, and has its fault. The suite fails if a Target lacks a fault that its declaration calls for.
//
// All draws come from seeds that a failure prints.
package rangedtest
