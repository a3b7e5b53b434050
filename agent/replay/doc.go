// Package replay sends a range of a stream's events to one destination again.
//
// # Contract
//
// A replay reads the log with its retained segments, and sends the events of its range through a sink of its own that is built
// like the destination's. They have the IDs, keys and times that they had before. The order of a key is kept within the replay;
// live events are sent beside it as ever. Nothing is settled: the cursor, the ledger and the dead letters of the destination stay
// as they are. An event that the destination rejects is counted by the replay alone.
//
// A replay holds nothing up. It does not keep segments from being unlinked: when events of the range are gone, it sends those
// before them and ends with an error. It stops reading while the live events of the destination wait for a quota, for bandwidth
// or after a failure, sends one request at a time, and takes at most a quarter of a known quota.
//
// It ends at the end of its range, when it is cancelled, when the destination is paused, changed or removed, and when the agent
// stops. It is not resumed. The result of the latest replay of a destination stays in memory.
//
// # Assumptions
//
// A second sink of the type may send beside the first: destination.NoReplay lists the types that take none.
//
// # Limits
//
// One replay for a destination at a time, and mostRunning in all, with memory bytes of events each. After a partial failure of a
// request, and after damage, events may arrive twice, as in live delivery.
package replay
