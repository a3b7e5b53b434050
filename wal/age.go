package wal

import (
	"math"
	"time"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// dropAged drops the events of a stream that are older than its MaxAge.
func (r *retention) dropAged(s *stream, now time.Time) {
	s.mu.Lock()
	maxAge := s.policy.MaxAge
	if maxAge == 0 {
		s.ages = bounds.Ages{}
		s.mu.Unlock()
		return
	}
	old, begin := s.ages.Look(s.next, now, maxAge), s.ages.Begin
	from := max(s.floor.Age, s.checkpointLocked())
	s.mu.Unlock()
	if old < begin && r.clock.EvenFor(min(maxAge, bounds.LongEnough)) {
		blockAt := func(offset uint64) (b segment.Block, ok bool) {
			if r.log.usable() == nil {
				b, ok = r.log.segments.BlockAt(s.name, offset)
			}
			if at, known := r.log.times.Time(b.At()); known {
				b.Time = at.UnixNano()
			} else {
				b.Time = math.MaxInt64 // it counts as old as the block after it
			}
			return b, ok
		}
		old = max(old, bounds.OlderThan(maxAge, r.clock.Wall, Run{First: from, Next: begin}, blockAt)) // a jump since that look does not count
	}
	if old > 0 {
		r.dropBelow(s, Floor{Age: old})
	}
}
