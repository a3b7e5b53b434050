package liveset

import (
	"slices"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// GiveUp gives up the unreadable part of the stream in the segment that begins at the offset from: up to the next block
// that can be read. known reports whether it was given up before.
func (set *Set) GiveUp(seg *Segment, stream string, from uint64, sp segment.Span) (bad segment.Run, known bool) {
	from = max(from, sp.First)
	bad = segment.Run{First: from, Next: blockAfter(seg, stream, from, sp.Next)}
	set.mu.Lock()
	defer set.mu.Unlock()
	if slices.Contains(seg.bad[stream], bad) {
		return bad, true
	}
	if seg.bad == nil {
		seg.bad = make(map[string][]segment.Run)
	}
	seg.bad[stream] = append(seg.bad[stream], bad)
	return bad, false
}

// GivenUp reports whether the offset lies in a part that was given up, and returns the end of that part.
func (set *Set) GivenUp(seg *Segment, stream string, offset uint64) (next uint64, known bool) {
	set.mu.RLock()
	defer set.mu.RUnlock()
	for _, r := range seg.bad[stream] {
		if r.First <= offset && offset < r.Next {
			return r.Next, true
		}
	}
	return 0, false
}

// blockAfter returns the offset at which the first good block after the one at offset begins, or end if there is none.
// A bad page may hide many blocks, so it reads each block by itself.
func blockAfter(seg *Segment, stream string, offset, end uint64) uint64 {
	for from := offset; from < end; {
		p, ok, err := seg.PartOf(stream, from)
		if err != nil || !ok {
			return end
		}
		for at := range p.Places(from) {
			if at.First > offset && goodBlock(seg, stream, at) {
				return min(at.First, end)
			}
		}
		from = p.Next
	}
	return end
}

// goodBlock reports whether the block at a position of the index can be read.
func goodBlock(seg *Segment, stream string, at segment.BlockPlace) (good bool) {
	err := seg.Walk(stream, at.First, at.Next, func(_ segment.BlockPlace, _ segment.Block, fault string) (bool, error) {
		good = fault == ""
		return true, nil
	})
	return err == nil && good
}
