package capacity

import "time"

// Stat is the log's size.
type Stat struct {
	Bytes    int64 // that the segments occupy on the disk, without the retained ones
	MaxBytes int64
	Segments int

	// RetainedBytes are occupied beside Bytes by RetainedSegments: every destination has settled them, and they stay for
	// replay. Appends count them as free.
	RetainedBytes    int64
	RetainedSegments int
	Written          int64 // to segments since Open: whole pages, without the file system's own writes

	// StateBytes is the part of each segment that the log's streams, destinations and producers occupy. A new name that
	// would take it over MaxStateBytes is rejected with ErrStateFull, and StateFull is true for a minute after that.
	StateBytes    int64
	MaxStateBytes int64
	StateFull     bool

	// DeadBytes is the part of MaxBytes that the file of the dead letters occupies beside the segments. MaxDeadBytes is
	// its limit: a letter that does not fit is rejected with deadletter.ErrFull.
	DeadBytes    int64
	MaxDeadBytes int64
}

// Stat returns the log's size now. written is for Written.
func (c *Capacity) Stat(now time.Time, written int64) Stat {
	use := c.Segments.Use()
	return Stat{
		Bytes: c.Used(use), MaxBytes: c.Max(), Segments: use.Segments, RetainedBytes: use.Retained, RetainedSegments: use.RetainedSegments, Written: written,
		StateBytes: c.StateBytes.Load(), MaxStateBytes: c.MostState(), StateFull: c.StateFull(now),
		DeadBytes: c.Dead(), MaxDeadBytes: c.MaxDead(),
	}
}
