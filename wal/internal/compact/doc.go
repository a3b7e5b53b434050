// Package compact replaces sealed segments by copies without the events that every destination has settled.
//
// # Contract
//
// A Compactor chooses the segments that are worth it, one at a time, and replaces the file of each by a copy that a Copier
// makes. It uses no copy that was made without considering a destination that exists by now.
//
// A copy holds every event that Needs calls for, with its offset, lane and time, and the meta bucket and the state of the
// segment. Its blocks cover the same offsets as before, from the first needed event of each stream on: gaps stand for the
// missing events. So the spans of the copy end where those of the segment end, and a new destination finds the number of the
// missing events by the counts of held events in the meta bucket.
//
// Copy returns once the file is synced. A damaged block ends the copy with ErrKept: its readers report the damage, and
// the segment stays as it is.
//
// # Assumptions
//
// The segment is sealed. Needs may be out of date when the copy is complete: progress only grows, so the copy then holds
// more than is needed. A destination that is new since then may need more, and the Compactor does not use the copy.
//
// # Limits
//
// A copy reads and writes chunks of 1 MiB, and calls Pause after each, so that commits do not wait for it.
package compact
