package wal

import (
	"bytes"
	"slices"
	"time"

	"github.com/standpipe/standpipe/wal/internal/queue"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// cursorStep is the entry of a cursor in a commit, and the values that take effect with it.
type cursorStep struct {
	cursor *Cursor
	key    []byte
	value  []byte
	lanes  [Lanes]Progress
	low    uint64
	state  []byte
}

// checkpointStep is about the most bytes of cursors that one commit writes, so that appends wait for at most one short
// commit. The next commit follows at once.
const checkpointStep = 256 << 10

// collectCursors encodes cursors that have moved since they were last written. A checkpoint writes all cursors that
// have moved before it begins, in as many commits as that needs. A commit that begins a segment writes all cursors
// anyway.
func (c *committer) collectCursors(g *commitGroup) {
	dirty := &c.dirty
	if dirty.Done(c.until) || g.begins {
		c.until = dirty.End()
	}
	for size := 0; (size < checkpointStep || g.begins) && !dirty.Done(c.until); {
		step, ok := dirty.Pop().step()
		if !ok {
			continue
		}
		size += len(step.key) + len(step.value)
		g.cursors = append(g.cursors, step)
	}
	slices.SortFunc(g.cursors, func(a, b cursorStep) int { return bytes.Compare(a.key, b.key) })
	c.due, c.lastCheckpoint = time.Time{}, time.Now()
	switch {
	case !dirty.Done(c.until):
		c.due = c.lastCheckpoint
	case !dirty.Empty(): // they have moved meanwhile
		c.moved()
	}
}

// dirtyLocked makes the next checkpoint write the cursor.
func (p *Cursor) dirtyLocked() {
	if !p.dirty {
		p.dirty = true
		p.log.committer.dirty.Push(p)
	}
}

// step encodes a dirty cursor, which is clean afterwards. ok is false if the cursor is not part of the state.
func (p *Cursor) step() (s cursorStep, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dirty = false; !p.inState {
		return s, false
	}
	value := p.at.Append(nil)
	p.resizeLocked(len(value))
	return cursorStep{
		cursor: p,
		key:    segment.StateKey(segment.StateCursor, p.stream.name, p.name),
		value:  value,
		lanes:  p.at.Lanes,
		low:    p.checkpointLocked(),
		state:  p.at.State,
	}, true
}

// committed notes that the step is on disk.
func (s *cursorStep) committed() {
	s.cursor.mu.Lock()
	s.cursor.at.Synced, s.cursor.at.Low = s.lanes, s.low
	keeper := s.cursor.keeper
	s.cursor.mu.Unlock()
	if keeper != nil && s.state != nil {
		keeper(s.state)
	}
}

// failed makes the next checkpoint write the cursor again.
func (s *cursorStep) failed() {
	s.cursor.mu.Lock()
	s.cursor.dirtyLocked()
	s.cursor.mu.Unlock()
}

// sync requests a checkpoint now.
func (c *committer) sync() (<-chan error, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	s := syncCall{result: make(chan error, 1), until: c.dirty.End()}
	c.syncs = append(c.syncs, s)
	queue.Poke(c.wake)
	return s.result, nil
}

// syncCall is a call of Log.Sync.
type syncCall struct {
	result chan error // holds one
	until  uint64     // dirty.End after the last cursor that was in the queue
}

// respondSyncs completes the calls whose cursors are on the disk. After an error it completes all calls.
func (c *committer) respondSyncs(calls []syncCall, err error) {
	var done []syncCall
	c.mu.Lock()
	for _, s := range calls {
		if err == nil && !c.dirty.Done(s.until) {
			c.syncs = append(c.syncs, s)
			continue
		}
		done = append(done, s)
	}
	c.mu.Unlock()
	c.log.truncator.AfterPass(func() {
		for _, s := range done {
			s.result <- err
		}
	})
}

// touch makes the committer write a checkpoint within CheckpointInterval.
func (c *committer) touch() {
	c.moves.Add(1)
	queue.Poke(c.touched)
}
