package commit

import (
	"bytes"
	"slices"
	"time"

	"github.com/standpipe/standpipe/wal/internal/queue"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// checkpointStep is about the most bytes of cursors that one commit writes, so that appends wait for at most one short
// commit. The next commit follows at once.
const checkpointStep = 256 << 10

// collectCursors encodes cursors that have moved since they were last written. A checkpoint writes all cursors that
// have moved before it begins, in as many commits as that needs. A commit that begins a segment writes all cursors
// anyway.
func (c *Committer) collectCursors(g *group) {
	dirty := c.o.Cursors
	if dirty.Done(c.until) || g.begins {
		c.until = dirty.End()
	}
	for size := 0; (size < checkpointStep || g.begins) && !dirty.Done(c.until); {
		step := dirty.Next()
		size += len(step.Key()) + len(step.Value())
		g.cursors = append(g.cursors, step)
	}
	slices.SortFunc(g.cursors, func(a, b Entry) int { return bytes.Compare(a.Key(), b.Key()) })
	c.checkpoint = deadline{}
	switch {
	case !dirty.Done(c.until):
		c.checkpoint.within(0)
	case !dirty.Empty(): // they have moved meanwhile
		c.moved()
	}
}

// deadline is the time by which a checkpoint begins. The zero value: never.
type deadline struct{ due, since time.Time }

// within moves the deadline forward to the end of d.
func (l *deadline) within(d time.Duration) {
	now := time.Now()
	if due := now.Add(d); l.due.IsZero() || due.Before(l.due) {
		l.due, l.since = due, now
	}
}

func (l *deadline) passed(now time.Time) bool { return !l.due.IsZero() && !now.Before(l.due) }

// near reports whether half of the wait is over: then the checkpoint joins a commit of appends, which costs less than a
// commit of its own.
func (l *deadline) near(now time.Time) bool {
	return !l.due.IsZero() && now.Sub(l.since) >= l.due.Sub(now)
}

// moved schedules a checkpoint after a cursor moved. It begins before the interval ends, so that it is on the disk by then.
// While appends wait for free bytes it is due at once: only a checkpoint lets segments be truncated.
func (c *Committer) moved() {
	interval := time.Duration(c.within.Swap(0))
	switch {
	case c.full:
		interval = 0
	case interval == 0 || c.o.Capacity.NotedFull(): // 0: an earlier call of moved has swapped it
		interval = SoonInterval
	}
	c.checkpoint.within(interval * 4 / 5)
}

// Sync requests a checkpoint now. The channel gets the outcome after the next pass of the truncator.
func (c *Committer) Sync() (<-chan error, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, segment.ErrClosed
	}
	s := syncCall{result: make(chan error, 1), until: c.o.Cursors.End()}
	c.syncs = append(c.syncs, s)
	queue.Poke(c.wake)
	return s.result, nil
}

// syncCall is a call of Sync.
type syncCall struct {
	result chan error // holds one
	until  uint64     // Cursors.End after the last cursor that was in the queue
}

// respondSyncs completes the calls whose cursors are on the disk. After an error it completes all calls.
func (c *Committer) respondSyncs(calls []syncCall, err error) {
	var done []syncCall
	c.mu.Lock()
	for _, s := range calls {
		if err == nil && !c.o.Cursors.Done(s.until) {
			c.syncs = append(c.syncs, s)
			continue
		}
		done = append(done, s)
	}
	c.mu.Unlock()
	c.o.Truncator.AfterPass(func() {
		for _, s := range done {
			s.result <- err
		}
	})
}

// Touch makes the committer write a checkpoint within that time, or earlier.
func (c *Committer) Touch(within time.Duration) {
	for {
		old := c.within.Load()
		if old != 0 && old <= int64(within) || c.within.CompareAndSwap(old, int64(within)) {
			break
		}
	}
	c.moves.Add(1)
	queue.Poke(c.touched)
}
