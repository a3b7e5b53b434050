package wal

import (
	"time"

	"github.com/standpipe/standpipe/wal/internal/bounds"
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
		old = max(old, r.olderThan(s.name, Run{First: from, Next: begin}, maxAge))
	}
	if old > 0 {
		r.dropBelow(s, Floor{Age: old})
	}
}

// olderThan returns the offset below which the run's events are older than maxAge by their blocks' times; 0: no event
// is. A block with a time in the future counts as old as the block after it.
func (r *retention) olderThan(name string, run Run, maxAge time.Duration) (old uint64) {
	now := r.clock.Wall // a jump since that look does not count
	for at := run.First; at < run.Next && r.log.usable() == nil; {
		b, ok := r.log.segments.BlockAt(name, at)
		if !ok || b.First >= run.Next {
			break
		}
		age := now.Sub(b.At())
		if 0 <= age && age < maxAge {
			break
		}
		at = b.Next()
		if age >= maxAge {
			old = at
		}
	}
	return min(old, run.Next)
}
