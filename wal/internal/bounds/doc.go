// Package bounds has the rules that bound a stream: how old its events may be, and how many bytes it may hold. It knows
// neither the log nor its destinations.
//
// # Contract
//
// A Policy bounds one stream. Two floors follow from it: events below Floor.Age are too old, and events below Floor.Full
// must make room. A floor never falls.
//
// The age of an event is measured without the agent's clock where possible: that clock may be wrong for hours after a
// gateway's boot, and then jump. Ages measures the age of events that were appended since Open by the monotonic clock.
// The age of older events is calculated from the times of their blocks, but only once the agent's clock has run evenly
// for a while: see Clock.
//
// An event counts as its payload and 64 bytes in a stream's budget. If its key, attributes and framing take more than 64
// bytes, these count instead. The ledger counts payloads only, so Overhead has the rest.
//
// # Assumptions
//
// The caller guards Ages and Overhead by the mutex of the stream. One goroutine calls Clock.Look.
//
// # Limits
//
//   - An event is dropped at most 1/32 of MaxAge late. The time of a suspended machine does not count.
//   - The overhead of events that were appended before the log was opened does not count. That of a part of a run of
//     appends is an estimate: 64 runs are kept for a stream, however long its backlog is.
package bounds
