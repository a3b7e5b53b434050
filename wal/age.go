package wal

import (
	"slices"
	"time"
)

// The age of an event is measured without the agent's clock where possible: that clock may be wrong for hours after a
// gateway's boot, and then jump. The age of an event that was appended since Open is measured by the monotonic clock.
// The age of an older event is calculated from its block's time, but only once the agent's clock has run evenly for a
// while.

const (
	// ageSteps is the number of observations of a stream's end during MaxAge. An event is dropped late by at most about
	// two of these steps.
	ageSteps = 64
	// evenLongEnough is the time that the agent's clock must run evenly before it is used.
	evenLongEnough = 10 * time.Minute
	// unevenBy is the largest deviation between two looks. The clock has jumped if it departs further from the
	// monotonic clock.
	unevenBy = time.Second
)

// ages holds the observed ends of a stream that has a MaxAge.
type ages struct {
	begin uint64 // events below it were appended before the first observation
	seen  []seenAt
}

// seenAt records that every event below next was appended before at.
type seenAt struct {
	next uint64
	at   time.Time
}

// look observes the stream's end. It returns the offset below which all events are older than maxAge.
func (a *ages) look(next uint64, now time.Time, maxAge time.Duration) (old uint64) {
	n := len(a.seen)
	switch {
	case n == 0:
		a.begin = next
		a.seen = append(a.seen, seenAt{next, now})
	case a.seen[n-1].next < next && now.Sub(a.seen[n-1].at) >= maxAge/ageSteps:
		a.seen = append(a.seen, seenAt{next, now})
	}
	for len(a.seen) > 1 && now.Sub(a.seen[1].at) >= maxAge {
		a.seen = slices.Delete(a.seen, 0, 1)
	}
	if now.Sub(a.seen[0].at) >= maxAge {
		old = a.seen[0].next
	}
	return old
}

// dropAged drops the events of a stream that are older than its MaxAge.
func (r *retention) dropAged(s *stream, now time.Time) {
	s.mu.Lock()
	maxAge := s.policy.MaxAge
	if maxAge == 0 {
		s.ages = ages{}
		s.mu.Unlock()
		return
	}
	old, begin := s.ages.look(s.next, now, maxAge), s.ages.begin
	from := max(s.floor.Age, s.checkpointLocked())
	s.mu.Unlock()
	if old < begin && r.clock.longer(min(maxAge, evenLongEnough)) {
		old = max(old, r.olderThan(s.name, Run{First: from, Next: begin}, maxAge))
	}
	if old > 0 {
		r.dropBelow(s, Floor{Age: old})
	}
}

// olderThan returns the offset below which the run's events are older than maxAge by their blocks' times; 0: no event
// is. A block with a time in the future counts as old as the block after it.
func (r *retention) olderThan(name string, run Run, maxAge time.Duration) (old uint64) {
	now := r.clock.wall // a jump since that look does not count
	for at := run.First; at < run.Next && r.log.usable() == nil; {
		b, ok := r.log.segments.blockAt(name, at)
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

// evenClock measures for how long the agent's clock has run as evenly as the monotonic clock. All fields but since are
// owned by the goroutine of upkeep.
type evenClock struct {
	clock func() time.Time
	wall  time.Time // the agent's time at the last look
	at    time.Time // the monotonic time at the last look
	since instant   // the last jump, or Open
}

func newEvenClock(clock func() time.Time) *evenClock {
	c := &evenClock{clock: clock, wall: clock().Round(0), at: time.Now()}
	c.since.set(c.at)
	return c
}

func (c *evenClock) look(now time.Time) {
	wall := c.clock().Round(0)
	if off := wall.Sub(c.wall) - now.Sub(c.at); off.Abs() > unevenBy {
		c.since.set(now)
	}
	c.wall, c.at = wall, now
}

// longer reports whether the clock has run evenly for at least d. Any goroutine may call it.
func (c *evenClock) longer(d time.Duration) bool { return time.Since(c.since.get()) >= d }
