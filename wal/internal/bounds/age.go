package bounds

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

const (
	// ageSteps is the number of observations of a stream's end during MaxAge. An event is dropped late by at most about
	// two of these steps.
	ageSteps = 64
	// LongEnough is the time that the agent's clock must run evenly before it is used.
	LongEnough = 10 * time.Minute
	// unevenBy is the largest deviation between two looks. The clock has jumped if it departs further from the
	// monotonic clock.
	unevenBy = time.Second
)

// Ages holds the observed ends of a stream that has a MaxAge.
type Ages struct {
	Begin uint64 // events below it were appended before the first observation
	seen  []seenAt
}

// seenAt records that every event below next was appended before at.
type seenAt struct {
	next uint64
	at   time.Time
}

// Look observes the stream's end. It returns the offset below which all events are older than maxAge.
func (a *Ages) Look(next uint64, now time.Time, maxAge time.Duration) (old uint64) {
	n := len(a.seen)
	switch {
	case n == 0:
		a.Begin = next
		a.seen = append(a.seen, seenAt{next, now})
	case a.seen[n-1].next < next && now.Sub(a.seen[n-1].at) >= Step(maxAge):
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

// OlderThan returns the offset below which the run's events are older than maxAge by their blocks' times; 0: no event is. A
// block with a time in the future counts as old as the block after it. blockAt returns the block that has an offset, and
// false to end the search.
func OlderThan(maxAge time.Duration, now time.Time, run segment.Run, blockAt func(offset uint64) (segment.Block, bool)) (old uint64) {
	for at := run.First; at < run.Next; {
		b, ok := blockAt(at)
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

// Clock measures for how long the agent's clock has run as evenly as the monotonic clock. All fields but since are
// owned by the goroutine that calls Look.
type Clock struct {
	clock func() time.Time
	Wall  time.Time                 // the agent's time at the last look
	at    time.Time                 // the monotonic time at the last look
	since atomic.Pointer[time.Time] // the last jump, or NewClock
}

// NewClock returns a Clock that begins to measure now.
func NewClock(clock func() time.Time) *Clock {
	now := time.Now()
	c := &Clock{clock: clock, Wall: clock().Round(0), at: now}
	c.since.Store(&now)
	return c
}

// Look compares the two clocks.
func (c *Clock) Look(now time.Time) {
	wall := c.clock().Round(0)
	if off := wall.Sub(c.Wall) - now.Sub(c.at); off.Abs() > unevenBy {
		jumped := now
		c.since.Store(&jumped)
	}
	c.Wall, c.at = wall, now
}

// EvenFor reports whether the clock has run evenly for at least d. Any goroutine may call it.
func (c *Clock) EvenFor(d time.Duration) bool { return time.Since(*c.since.Load()) >= d }

// Step returns the interval between two observations of a stream's end.
func Step(maxAge time.Duration) time.Duration { return maxAge / ageSteps }
