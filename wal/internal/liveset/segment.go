package liveset

import (
	"time"

	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Segment is a segment of the log: its file, and the events in it.
type Segment struct {
	*segfile.File

	// Guarded by Set.mu once the segment is part of a set.
	preallocated bool  // it has no state yet: the first transaction writes it
	continued    bool  // it lacks entries of producers that the segment before it has
	size         int64 // bytes on the disk once it is sealed, or while it is the next segment
	spans        map[string]segment.Span
	bad          map[string][]segment.Run // the unreadable parts of each stream
	gapped       bool                     // it was compacted, and lacks some events
	retained     bool                     // its bytes count in Set.retainedBytes
	sealedAt     time.Time                // zero until it is sealed
}

// NewSegment returns a segment without events.
func NewSegment(file *segfile.File) *Segment {
	return &Segment{File: file, spans: make(map[string]segment.Span)}
}

// Preallocated reports whether the segment has no state yet: its first transaction writes it. The leader of the commits
// may call it for the newest segment, others for a segment that is in no set.
func (s *Segment) Preallocated() bool { return s.preallocated }

// Continued reports whether the segment lacks entries of producers that the segment before it has. The same goroutines as
// for Preallocated may call it.
func (s *Segment) Continued() bool { return s.continued }

// SealedAt returns when the sealed segment was sealed. After a restart that is the time of its file by the host's clock, or
// that of the start if it is later.
func (s *Segment) SealedAt() time.Time { return s.sealedAt }

// Part is the part of a stream that one segment holds.
type Part struct {
	segment.Span
	Segment *Segment
	Gapped  bool          // some events are missing, which every destination has settled
	Bad     []segment.Run // the unreadable parts that were given up
}

// Sealed is a sealed segment at one instant.
type Sealed struct {
	*Segment
	Size    int64                   // bytes on the disk
	Spans   map[string]segment.Span // of each stream; they are replaced, never changed
	Damaged bool                    // a part of it was given up
}

// Use is the bytes that the segments occupy at one instant.
type Use struct {
	Segments         int      // without the next
	Sealed           int64    // without the retained
	Retained         int64    // occupied by segments that every destination has settled, and that stay for replay
	RetainedSegments int      // those of Retained that are not about to be unlinked
	Next             int64    // 0: there is no next segment
	Newest           *Segment // its File has the bytes that it uses and that are allocated
	Preallocated     bool     // the newest has no state yet
}
