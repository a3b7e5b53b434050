// Package readout is the gRPC service standpipe.v1.Reader: it returns stored events to callers that may read them.
//
// # Contract
//
// Read returns synced events only, in the order of their offsets, and reports every offset that it leaves out: events that are
// filtered by their key are the only ones without a word. It settles nothing, and holds back neither appends nor shipping nor
// truncation. A reader holds one chunk of events in memory, also while its caller takes nothing, and there are at most maxReaders
// of them.
//
// A caller on a listener with a guard is an identity with the stream in its read setting. A listener without a guard offers the
// service only where Options.Log is set.
package readout
