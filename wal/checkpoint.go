package wal

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// cursorStep is a place as a commit writes it.
type cursorStep struct {
	place *Cursor
	key   []byte
	value []byte
	marks [Lanes]Progress
	low   uint64
	state []byte
}

// checkpointStep is about the most bytes of places that one commit writes, so that the appends that come meanwhile wait
// for no more than a commit. The next follows at once.
const checkpointStep = 256 << 10

// collectCursors encodes places that have moved since they were last written. A checkpoint writes all that have moved when
// it begins, and takes as many commits as that needs. One that begins a segment writes all places anyway.
func (c *committer) collectCursors(g *commitGroup) {
	dirty := &c.dirty
	if dirty.done(c.until) || g.begins {
		c.until = dirty.end()
	}
	for size := 0; (size < checkpointStep || g.begins) && !dirty.done(c.until); {
		step, ok := dirty.pop().step()
		if !ok {
			continue
		}
		size += len(step.key) + len(step.value)
		g.cursors = append(g.cursors, step)
	}
	slices.SortFunc(g.cursors, func(a, b cursorStep) int { return bytes.Compare(a.key, b.key) })
	c.due, c.lastCheckpoint = time.Time{}, time.Now()
	switch {
	case !dirty.done(c.until):
		c.due = c.lastCheckpoint
	case !dirty.empty(): // they have moved meanwhile
		c.moved()
	}
}

// cursorQueue holds the places that differ from their state on the disk. Its mutex is acquired last.
type cursorQueue struct {
	mu     sync.Mutex
	places []*Cursor
	popped uint64 // places so far
}

func (q *cursorQueue) push(p *Cursor) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.places = append(q.places, p)
}

// pop removes the first place. The caller holds the committer's turn, and the queue is not empty.
func (q *cursorQueue) pop() (p *Cursor) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p, q.places = q.places[0], q.places[1:]
	q.popped++
	return p
}

func (q *cursorQueue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.places) == 0
}

// end returns how many places will have been popped once all that there are now are.
func (q *cursorQueue) end() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.popped + uint64(len(q.places))
}

// done reports whether at least so many places have been popped.
func (q *cursorQueue) done(popped uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.popped >= popped
}

// dirtyLocked has the next checkpoint write the place.
func (p *Cursor) dirtyLocked() {
	if !p.dirty {
		p.dirty = true
		p.log.committer.dirty.push(p)
	}
}

// step encodes the place, which is dirty, unless it is none of the state's.
func (p *Cursor) step() (s cursorStep, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dirty = false; !p.kept {
		return s, false
	}
	value := p.at.Append(nil)
	p.resizeLocked(len(value))
	return cursorStep{
		place: p,
		key:   segment.StateKey(segment.StateCursor, p.stream.name, p.name),
		value: value,
		marks: p.at.Lanes,
		low:   p.checkpointLocked(),
		state: p.at.State,
	}, true
}

// committed notes that the step is on disk.
func (s *cursorStep) committed() {
	s.place.mu.Lock()
	s.place.synced, s.place.low = s.marks, s.low
	keeper := s.place.keeper
	s.place.mu.Unlock()
	if keeper != nil && s.state != nil {
		keeper(s.state)
	}
}

// failed makes the next checkpoint write the place again.
func (s *cursorStep) failed() {
	s.place.mu.Lock()
	s.place.dirtyLocked()
	s.place.mu.Unlock()
}

// sync requests a checkpoint now.
func (c *committer) sync() (<-chan error, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	s := syncCall{answer: make(chan error, 1), until: c.dirty.end()}
	c.syncs = append(c.syncs, s)
	poke(c.wake)
	return s.answer, nil
}

// syncCall is a caller of Log.Sync.
type syncCall struct {
	answer chan error // holds one
	until  uint64     // how many places are popped from committer.dirty once all are that were in it
}

// respondSyncs completes the calls whose places are on the disk; after an error, all calls.
func (c *committer) respondSyncs(calls []syncCall, err error) {
	var done []syncCall
	c.mu.Lock()
	for _, s := range calls {
		if err == nil && !c.dirty.done(s.until) {
			c.syncs = append(c.syncs, s)
			continue
		}
		done = append(done, s)
	}
	c.mu.Unlock()
	c.log.truncator.afterPass(func() {
		for _, s := range done {
			s.answer <- err
		}
	})
}

// touch makes the committer write a checkpoint within CheckpointInterval.
func (c *committer) touch() {
	c.moves.Add(1)
	poke(c.touched)
}
