// Package truncate unlinks the segments that every destination has settled, at once or after a time as retained ones.
//
// # Contract
//
// A segment is unlinked, or retained if Options.Keep says so, when Options.Needs returns false for each stream's events in it:
// the checkpoints on the disk settle them. It leaves the liveset.Set first, and its bytes count as in use until its file is
// gone. A failed unlink is retried at the next pass, and logged once. Neither a commit nor a checkpoint waits for an
// unlink: a pass ends after 32 of them, and the next begins.
//
// Before a segment is unlinked, the marker has the number of a later segment that has begun. So Open detects that the
// newest segment is missing, also if its file is gone.
//
// # Assumptions
//
// A segment that a crash brings back is unlinked again, so unlinks are synced together, after the last one.
package truncate
