package commit

import (
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/wal/internal/queue"
)

const (
	// returnPart is the part of a commit's time within which its callers are expected to append again.
	returnPart = 4
	// Callers that have not done so are awaited for less and less time, down to an eighth of that, except each fourth time.
	leastShift, doubtAgain = 3, 4
	// slowCommit is the shortest commit after which a wait is worth it: timers are not exact, and a short commit is over soon.
	slowCommit = 2 * time.Millisecond
	// longestReturn bounds the wait: callers return within a few milliseconds, however slow the disk is.
	longestReturn = 10 * time.Millisecond
)

// callers keeps callers that append in a loop in one group. After a commit they return one by one. Without a wait the first
// of them would commit alone, and the others would wait for two commits. A lone caller never waits.
type callers struct {
	queued  atomic.Int64 // batches in the queue whose callers await them
	enough  atomic.Int64 // await ends with this many; 0: no goroutine is in await
	arrived chan struct{}

	// Owned by the leader.
	expected int64     // callers of the last group, and those that were in the queue when it ended
	until    time.Time // the end of the wait for them
	failed   int       // waits in a row that ended without them
}

// add notes that a caller has appended.
func (c *callers) add() {
	n := c.queued.Add(1)
	if enough := c.enough.Load(); enough > 0 && n >= enough {
		queue.Poke(c.arrived)
	}
}

// missing reports whether expected callers have not returned yet, and are worth a wait.
func (c *callers) missing() bool {
	return c.expected > 1 && c.queued.Load() < c.expected && time.Now().Before(c.until)
}

// await waits until the expected callers have returned, or should have, or closing is closed.
func (c *callers) await(closing <-chan struct{}) {
	select {
	case <-c.arrived: // of an earlier wait
	default:
	}
	c.enough.Store(c.expected)
	defer c.enough.Store(0)
	if c.queued.Load() >= c.expected {
		c.failed = 0
		return
	}
	timer := time.NewTimer(time.Until(c.until))
	defer timer.Stop()
	select {
	case <-c.arrived:
		c.failed = 0
	case <-timer.C:
		c.failed++
	case <-closing:
	}
}

// committed notes that the callers of a group get their responses now, after a commit that took that time.
func (c *callers) committed(g *group, took time.Duration) {
	c.expected = 0
	if took < slowCommit {
		return
	}
	c.expected = c.queued.Load()
	for _, t := range g.tickets {
		if t.inline {
			c.expected++
		}
	}
	wait := took / returnPart
	if c.failed%doubtAgain != 0 {
		wait >>= min(c.failed, leastShift)
	}
	c.until = time.Now().Add(min(wait, longestReturn))
}
