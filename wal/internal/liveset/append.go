package liveset

import (
	"time"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Publish makes a commit visible: the newest segment has a state by now, and show puts the new spans of the streams into
// it, see Continued. No reader sees one span without the others.
func (set *Set) Publish(newest *Segment, continued bool, show func(to Spans)) {
	set.mu.Lock()
	defer set.mu.Unlock()
	newest.preallocated, newest.continued = false, continued
	show(Spans{set, newest})
}

// Spans is the spans of the newest segment during Publish.
type Spans struct {
	set *Set
	seg *Segment
}

// Put replaces the span of the stream.
func (s Spans) Put(stream string, sp segment.Span) {
	s.seg.spans[stream] = sp
	s.set.noteLocked(stream)
}

// SetNext records that the segment is ready to follow the newest. Its first transaction writes the state.
func (set *Set) SetNext(next *Segment) {
	set.mu.Lock()
	defer set.mu.Unlock()
	next.preallocated = true
	next.size = next.Disk()
	set.next = next
}

// Next returns the next segment; nil: there is none.
func (set *Set) Next() *Segment {
	set.mu.RLock()
	defer set.mu.RUnlock()
	return set.next
}

// MeasureNext counts the bytes that the next segment occupies now.
func (set *Set) MeasureNext(next *Segment) {
	set.mu.Lock()
	defer set.mu.Unlock()
	next.size = next.Disk()
}

// RemoveNext records that there is no next segment any more.
func (set *Set) RemoveNext() {
	set.mu.Lock()
	defer set.mu.Unlock()
	set.next = nil
}

// Roll makes next the newest segment. The old one is sealed.
func (set *Set) Roll(old, next *Segment) {
	set.mu.Lock()
	defer set.mu.Unlock()
	old.size = max(old.Disk(), old.Used()) // blocks may be counted late
	old.sealedAt = time.Now()
	set.all = append(set.all, next)
	set.sealed += old.size
	set.next = nil
}
