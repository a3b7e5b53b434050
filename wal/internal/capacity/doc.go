// Package capacity calculates how many bytes the log may take: under its configured size, and on its volume.
//
// # Contract
//
// Everything that can exist at once fits into MaxSize:
//
//	the sealed segments, a copy under way
//	+ the newest segment: its used bytes, and its reserve
//	    CheckpointBytes  all cursors, written beside their previous entries
//	    SealBytes         the index, and the flag that the segment is sealed
//	+ the next segment: BytesToBegin, the whole state, whether it is made ready yet or not
//	+ the dead letters: deadHeld
//
// Appends take the rest, less a margin and the bytes of a copy. bbolt cannot grow a file beyond its limit, so an
// estimate that is too low rejects an append, and never exceeds MaxSize. The reserve is allocated ahead, and where the
// volume is short the next segment is made early: both work on a volume that is full to the last block.
//
// So the newest segment can always be sealed and the next one begun, which writes the present state. The committer does
// that when the log is full and no destination needs the events of the newest segment. Then the old segment is unlinked,
// however short it was, and the log has as many free bytes as an empty log: at least LargestAppend, while the state is
// within its limit.
//
// # Assumptions
//
// The numbers of one calculation are from one instant, except those of the volume: others may fill it at any time.
// Allocate notices that before a commit writes a byte.
package capacity
