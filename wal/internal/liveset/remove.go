package liveset

import (
	"slices"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Hold keeps every segment as it is, until release is called: Remove and Replace change nothing.
func (set *Set) Hold() (release func()) {
	set.replacing.Lock() // a copy has replaced its segment, or has not begun to
	defer set.replacing.Unlock()
	set.mu.Lock()
	defer set.mu.Unlock()
	set.holders.Add(1)
	set.holds++
	return func() {
		set.holders.Add(-1)
		set.released()
	}
}

// Look is an instant without a Hold.
type Look struct{ holds uint64 }

// Look returns the present instant; ok is false while a Hold is under way.
func (set *Set) Look() (at Look, ok bool) {
	set.mu.RLock()
	defer set.mu.RUnlock()
	return Look{set.holds}, set.holders.Load() == 0
}

// Remove removes sealed segments, which are in order. Their bytes count until Unlinked. It changes nothing and returns
// false if a Hold has begun since the look.
func (set *Set) Remove(gone []*Segment, since Look) bool {
	set.mu.Lock()
	defer set.mu.Unlock()
	return set.removeLocked(gone, since)
}

// removeLocked is Remove with mu held.
func (set *Set) removeLocked(gone []*Segment, since Look) bool {
	if set.holds != since.holds {
		return false
	}
	kept := set.all[:0]
	for _, s := range set.all { // both are in order
		if len(gone) > 0 && gone[0] == s {
			gone = gone[1:]
			continue
		}
		kept = append(kept, s)
	}
	clear(set.all[len(kept):])
	set.all = kept
	return true
}

// Unlinked records that the file of a removed segment occupies no bytes any more.
func (set *Set) Unlinked(seg *Segment) {
	set.mu.Lock()
	defer set.mu.Unlock()
	if seg.retained {
		set.retainedBytes -= seg.size
	} else {
		set.sealed -= seg.size
	}
}

// Spans returns the span of each stream in the sealed segment.
func (set *Set) Spans(seg *Segment) map[string]segment.Span {
	set.mu.RLock()
	defer set.mu.RUnlock()
	return seg.spans
}

// Copy is the copy of a sealed segment without some events that every destination has settled.
type Copy struct {
	Path  string // of its file
	Spans map[string]segment.Span
	// Suffices reports whether the copy still has all that is needed of the segment, whose spans are those.
	Suffices func(spans map[string]segment.Span) bool
	Shrunk   func() // called when the spans are replaced, and the file is not
}

// Replace replaces the spans and then the file of a sealed segment by those of its copy. It changes nothing and returns
// false if the copy does not suffice, the segment has left the row, a part of it was given up, or a Hold is under way. A
// reader with the old
// spans may meet the new file, and then looks up the segment again.
func (set *Set) Replace(seg *Segment, c *Copy) (replaced bool, err error) {
	set.replacing.Lock()
	defer set.replacing.Unlock()
	if !set.replaceSpans(seg, c) {
		return false, nil
	}
	c.Shrunk()
	if err := seg.Replace(c.Path); err != nil {
		return false, err
	}
	return true, nil
}

func (set *Set) replaceSpans(seg *Segment, c *Copy) bool {
	set.mu.Lock()
	defer set.mu.Unlock()
	if set.holders.Load() > 0 || len(seg.bad) > 0 || !slices.Contains(set.all, seg) || !c.Suffices(seg.spans) {
		return false
	}
	seg.spans, seg.gapped = c.Spans, true
	return true
}

// Resize records the bytes that a sealed segment occupies now: at least length, since the file system may count blocks
// late.
func (set *Set) Resize(seg *Segment, length int64) {
	size := max(seg.Disk(), length)
	set.mu.Lock()
	defer set.mu.Unlock()
	for _, s := range set.all {
		if s == seg { // not removed meanwhile
			set.sealed += size - seg.size
			seg.size = size
		}
	}
}

// Size returns the bytes that the sealed segment occupies on the disk.
func (set *Set) Size(seg *Segment) int64 {
	set.mu.RLock()
	defer set.mu.RUnlock()
	return seg.size
}
