// Package loss finds the events of a stream that a destination has not settled and the log does not hold: they are lost
// with a damaged part of it.
//
// # Contract
//
// A Search has the progress of one destination. Examine adds the parts of the stream that the log holds, and Find counts
// the lost events and the runs of offsets that had them. Find reads only segments of which some events are settled, and
// segments that are known to be damaged or compacted; the index has the counts of the others. It gives up the unreadable
// parts that it meets: see liveset.Set.GiveUp.
//
// A Check is the Search for a cursor that may have an owner, which settles the events that it holds itself.
//
// # Assumptions
//
// From Examine to Find no segment is unlinked or compacted: the caller has a liveset.Set.Hold.
package loss
