// Package cursor has the arithmetic of a destination's position in a stream: the progress of each lane, the ledger, and
// the events that are known to be lost. It has no lock and does not know the log.
//
// # Contract
//
// A Position only grows: Moved ignores progress that a lane has made already. Add counts no event that is not pending,
// so that at every instant
//
//	appended = delivered + dead + dropped + pending
//
// holds for each destination. Lanes, Ledger, State and Label are the state that a commit writes. Synced and
// SyncedNeed are the lanes and the needed offsets on the disk, by which segments are unlinked.
//
// Await tracks one batch: whether a destination has settled its events, and whether some of them were dead-lettered
// or dropped. It is exact for runs of up to 4,096 events. For a longer run it compares the ends of the lanes, and so may
// wait for older events of these lanes. If it is unknown whether an event was lost, it counts as lost.
//
// # Assumptions
//
// The caller guards a Position, and an Await that several goroutines share.
package cursor
