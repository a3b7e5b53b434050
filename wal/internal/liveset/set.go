package liveset

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Set is the segments of the log.
type Set struct {
	released func() // called by the release of a Hold

	// replacing is held while the spans and the file of a segment are replaced by those of its copy. It is acquired
	// before mu.
	replacing sync.Mutex

	mu      sync.RWMutex
	all     []*Segment                // oldest first; the last takes the appends
	sealed  int64                     // bytes that all but the last occupy
	next    *Segment                  // made ready to follow the last; nil: not yet
	oldest  map[string]*atomic.Uint64 // for each stream: segments with a lower number hold no event of it, and never will
	holders atomic.Int32              // changed under mu

	retained      []*Segment // oldest first; they have left all
	retainedBytes int64      // that these occupy, and those that Release has removed and that are not unlinked
	holds         uint64     // calls of Hold so far
}

// New returns a set without segments. It calls released when a Hold ends.
func New(released func()) *Set {
	return &Set{released: released, oldest: make(map[string]*atomic.Uint64)}
}

// Newest returns the segment that takes the appends. There must be one.
func (set *Set) Newest() *Segment {
	set.mu.RLock()
	defer set.mu.RUnlock()
	return set.all[len(set.all)-1]
}

// Find returns the segment that holds the stream's event at offset, or the first segment with a later event; nil: there
// is none.
func (set *Set) Find(stream string, offset uint64) (*Segment, segment.Span) {
	set.mu.RLock()
	defer set.mu.RUnlock()
	return firstWith(set.holdingLocked(stream), stream, offset)
}

// holdingLocked returns the segments from the first one that holds events of the stream. The next search begins there.
// mu is held, at least for reading.
func (set *Set) holdingLocked(stream string) []*Segment {
	oldest := set.oldest[stream]
	if oldest == nil {
		return nil
	}
	from, _ := slices.BinarySearchFunc(set.all, oldest.Load(), func(seg *Segment, seq uint64) int { return cmp.Compare(seg.Seq, seq) })
	for i, seg := range set.all[from:] {
		if _, ok := seg.spans[stream]; ok {
			oldest.Store(seg.Seq)
			return set.all[from+i:]
		}
	}
	return nil
}

// Changed reports whether the stream's first offset in the segment is no longer that of before.
func (set *Set) Changed(seg *Segment, stream string, before segment.Span) bool {
	set.mu.RLock()
	defer set.mu.RUnlock()
	return seg.spans[stream].First != before.First
}

// Parts returns the parts of the stream that the segments hold, oldest first.
func (set *Set) Parts(stream string) (parts []Part) {
	set.WithParts(stream, func(p []Part) { parts = p })
	return parts
}

// WithParts calls f with the parts of the stream. No commit is published before f returns.
func (set *Set) WithParts(stream string, f func(parts []Part)) {
	set.mu.RLock()
	defer set.mu.RUnlock()
	var parts []Part
	for _, seg := range set.holdingLocked(stream) {
		if sp, ok := seg.spans[stream]; ok {
			parts = append(parts, Part{Span: sp, Segment: seg, Gapped: seg.gapped, Bad: slices.Clone(seg.bad[stream])})
		}
	}
	f(parts)
}

// Gapped reports whether the segment lacks events that every destination has settled.
func (set *Set) Gapped(seg *Segment) bool {
	set.mu.RLock()
	defer set.mu.RUnlock()
	return seg.gapped
}

// BlockAt returns the header of the block that holds the offset, or of the first block after it. ok is false if there
// is none, or if it cannot be read.
func (set *Set) BlockAt(stream string, offset uint64) (found segment.Block, ok bool) {
	seg, sp := set.Find(stream, offset)
	if seg == nil {
		return segment.Block{}, false
	}
	_ = seg.Walk(stream, offset, sp.Next, func(_ segment.BlockPlace, b segment.Block, fault string) (bool, error) {
		b.Stream, b.Frames = stream, nil // these bytes belong to the transaction
		found, ok = b, fault == ""
		return true, nil
	})
	return found, ok
}

// OldestEnds returns the streams in the oldest segment, each with its end there. It returns none if the oldest segment is
// the newest too, and sealed ones are being unlinked.
func (set *Set) OldestEnds() map[string]uint64 {
	set.mu.RLock()
	defer set.mu.RUnlock()
	if len(set.all) == 1 && set.sealed > 0 {
		return nil
	}
	ends := make(map[string]uint64)
	for name, sp := range set.all[0].spans {
		ends[name] = sp.Next
	}
	return ends
}

// Settled reports whether needs returns false for each stream's events in the newest segment, and no Hold is under way.
func (set *Set) Settled(needs func(stream string, run segment.Run) bool) bool {
	set.mu.RLock()
	defer set.mu.RUnlock()
	if set.holders.Load() > 0 {
		return false
	}
	for name, sp := range set.all[len(set.all)-1].spans {
		if needs(name, sp.Run()) {
			return false
		}
	}
	return true
}

// Sealed returns the segments before the newest. Before the newest has begun, the segment before it is left out: it has
// the log's state. So is the one before a segment that lacks a part of the state.
func (set *Set) Sealed() []Sealed {
	set.mu.RLock()
	defer set.mu.RUnlock()
	last := len(set.all) - 1
	if set.all[last].preallocated {
		last--
	}
	if last > 0 && set.all[last].continued {
		last--
	}
	sealed := make([]Sealed, 0, max(last, 0))
	for _, s := range set.all[:max(last, 0)] {
		sealed = append(sealed, Sealed{Segment: s, Size: s.size, Spans: s.spans, Damaged: len(s.bad) > 0})
	}
	return sealed
}

// Use returns the bytes that the segments occupy.
func (set *Set) Use() Use {
	set.mu.RLock()
	defer set.mu.RUnlock()
	newest := set.all[len(set.all)-1]
	u := Use{Segments: len(set.all), Sealed: set.sealed, Retained: set.retainedBytes, RetainedSegments: len(set.retained), Newest: newest, Preallocated: newest.preallocated}
	if set.next != nil {
		u.Next = set.next.size
	}
	return u
}

// CloseForGood closes the files of all segments, also of the next.
func (set *Set) CloseForGood() error {
	var errs []error
	for _, s := range slices.Concat(set.retained, set.all) {
		errs = append(errs, s.CloseForGood())
	}
	if set.next != nil {
		errs = append(errs, set.next.CloseForGood())
	}
	return errors.Join(errs...)
}
