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
		step, ok := dirty.Next()
		if !ok {
			continue
		}
		size += len(step.Key()) + len(step.Value())
		g.cursors = append(g.cursors, step)
	}
	slices.SortFunc(g.cursors, func(a, b Entry) int { return bytes.Compare(a.Key(), b.Key()) })
	c.due, c.lastCheckpoint = time.Time{}, time.Now()
	switch {
	case !dirty.Done(c.until):
		c.due = c.lastCheckpoint
	case !dirty.Empty(): // they have moved meanwhile
		c.moved()
	}
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

// Touch makes the committer write a checkpoint within CheckpointInterval.
func (c *Committer) Touch() {
	c.moves.Add(1)
	queue.Poke(c.touched)
}
