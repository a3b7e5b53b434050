package liveset

import (
	"cmp"
	"slices"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Retain moves sealed segments, which are in order, from the row to the retained ones: every destination has settled
// their events, and FindAny alone still finds them. Their bytes count as Use.Retained. It changes nothing and returns
// false if a Hold has begun since the look.
func (set *Set) Retain(kept []*Segment, since Look) bool {
	set.mu.Lock()
	defer set.mu.Unlock()
	if !set.removeLocked(kept, since) {
		return false
	}
	for _, s := range kept {
		at, _ := slices.BinarySearchFunc(set.retained, s, bySeq)
		set.retained = slices.Insert(set.retained, at, s)
		s.retained = true
		set.sealed -= s.size
		set.retainedBytes += s.size
	}
	return true
}

// Release removes retained segments, oldest first, and returns them for their unlink: as many as it takes until at least
// the wanted bytes are being unlinked, and all others that are spent. They count as Use.Retained until Unlinked or Stuck.
func (set *Set) Release(wanted int64, spent func(*Segment) bool) (gone []*Segment) {
	set.mu.Lock()
	defer set.mu.Unlock()
	leaving := set.retainedBytes
	for _, s := range set.retained {
		leaving -= s.size
	}
	kept := set.retained[:0]
	for _, s := range set.retained {
		if leaving >= wanted && !spent(s) {
			kept = append(kept, s)
			continue
		}
		gone = append(gone, s)
		leaving += s.size
	}
	clear(set.retained[len(kept):])
	set.retained = kept
	return gone
}

// Stuck records that the unlink of a removed segment failed: its bytes are in use until Unlinked.
func (set *Set) Stuck(seg *Segment) {
	set.mu.Lock()
	defer set.mu.Unlock()
	if seg.retained {
		seg.retained = false
		set.retainedBytes -= seg.size
		set.sealed += seg.size
	}
}

// FindAny is Find in all segments, the retained ones included.
func (set *Set) FindAny(stream string, offset uint64) (*Segment, segment.Span) {
	set.mu.RLock()
	defer set.mu.RUnlock()
	seg, sp := firstWith(set.holdingLocked(stream), stream, offset)
	if kept, of := firstWith(set.retained, stream, offset); kept != nil && (seg == nil || kept.Seq < seg.Seq) {
		return kept, of
	}
	return seg, sp
}

// firstWith returns the first of the segments that holds the stream's event at offset or a later one; nil: there is none.
func firstWith(segments []*Segment, stream string, offset uint64) (*Segment, segment.Span) {
	for _, seg := range segments {
		if sp, ok := seg.spans[stream]; ok && sp.Next > offset {
			return seg, sp
		}
	}
	return nil, segment.Span{}
}

func bySeq(a, b *Segment) int { return cmp.Compare(a.Seq, b.Seq) }
