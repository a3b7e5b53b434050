package wal

import (
	"slices"
	"time"
)

// How old an event is, is told without the agent's clock as far as that goes: that clock may be wrong
// for hours after a gateway's boot and then jump. What was appended since the log was opened is as old
// as the monotonic clock says. Only for what is older the blocks' times count, and only once the
// agent's clock has gone evenly for a while.

const (
	// ageSteps is how finely ages are told apart: an event goes at most this part of MaxAge late.
	ageSteps = 64
	// evenLongEnough is for how long the agent's clock has to go evenly until it is believed.
	evenLongEnough = 10 * time.Minute
	// unevenBy is by how much it departs from the monotonic clock between two looks when it has jumped.
	unevenBy = time.Second
)

// ages are a stream's, while it has a MaxAge.
type ages struct {
	begin uint64 // when an event below it was appended was not seen
	seen  []seenAt
}

// seenAt: every event below next was appended before at.
type seenAt struct {
	next uint64
	at   time.Time
}

// look notes how far the stream has come and returns below where all is older than maxAge.
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

// dropAged drops of a stream what is older than its MaxAge.
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
		old = max(old, r.olderThan(s.name, Run{from, begin}, maxAge))
	}
	if old > 0 {
		r.dropBelow(s, Floor{Age: old})
	}
}

// olderThan returns below where the run's events are older than maxAge by their blocks' times; 0: none
// is. A block of a time that has not come yet is as old as the one after it.
func (r *retention) olderThan(name string, run Run, maxAge time.Duration) (old uint64) {
	now := r.clock.wall // a jump since that look is not believed
	for at := run.First; at < run.Next && r.log.usable() == nil; {
		b, ok := r.log.segments.blockAt(name, at)
		if !ok || b.first >= run.Next {
			break
		}
		age := now.Sub(b.at())
		if 0 <= age && age < maxAge {
			break
		}
		at = b.next()
		if age >= maxAge {
			old = at
		}
	}
	return min(old, run.Next)
}

// evenClock tells for how long the agent's clock has gone as evenly as the monotonic one. It belongs to
// upkeep, but for since.
type evenClock struct {
	clock func() time.Time
	wall  time.Time // what it said at the last look
	at    time.Time // when that was
	since instant   // when it last jumped, or when the log was opened
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

// longer tells whether it has gone evenly for at least d. Any goroutine may ask.
func (c *evenClock) longer(d time.Duration) bool { return time.Since(c.since.get()) >= d }
