package wal

import (
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// commit stores the group with one transaction, which syncs twice: the pages, then the meta page.
// When it returns nil everything of the group is on disk. ErrFull says that nothing of it is;
// after any other error the outcome is unknown and the log has failed.
func (c *committer) commit(g *group) error {
	l := c.log
	// The log should not be left with a newest segment that has not begun, and the full segment before it is freed only
	// once it has.
	g.begins = l.active().bare && (c.closed || g.checkpoint && l.fullSince.Load() != nil)
	if g.checkpoint {
		c.collectCursors(g)
	}
	if len(g.parts)+len(g.cursors)+len(g.gone)+len(g.sequences) > 0 || g.begins {
		start := time.Now()
		if err := c.store(g); err != nil {
			g.undo(c)
			return c.failed(g, err)
		}
		c.stored(g, time.Since(start))
		if err := l.sealIfLarge(); err != nil {
			l.fail(err)
		}
	}
	if len(g.cursors) > 0 || g.begins || l.truncateSoon.Swap(false) {
		l.truncator.checkpointed()
	}
	return nil
}

// store is the transaction.
func (c *committer) store(g *group) error {
	active := c.log.active()
	g.lay(&c.packer, active.end)
	var err error
	if g.successor, err = c.log.successor(active, active.used.Load()+c.log.growth(g.bytes())); err != nil {
		return err
	}
	if hook := c.log.opts.beforeCommit; hook != nil {
		if err := hook(); err != nil {
			return err
		}
	}
	if active.bare {
		c.trimRuns()
	}
	if err := c.allocate(g, active); err != nil {
		return &commitError{err: err, harmless: shortage(err)}
	}
	c.limit(g, active)
	if err := active.update(func(tx *bolt.Tx) error { return c.write(g, tx, active) }); err != nil {
		return err
	}
	if hook := c.log.opts.afterCommit; hook != nil {
		return hook()
	}
	return nil
}

// allocate makes room for the group in the newest segment.
func (c *committer) allocate(g *group, active *segmentFile) error {
	if g.need == 0 {
		return nil
	}
	return c.log.allocate(active, g.need, sealAhead)
}

// limit keeps the group from taking the room that is reserved for a checkpoint, the seal and the next segment.
func (c *committer) limit(g *group, active *segmentFile) {
	l := c.log
	size, least := l.limit(), int64(0)
	if g.successor == nil {
		size -= active.sealRoom()
	}
	if g.checkpoint {
		least = l.checkpointRoom()
	} else if !active.bare {
		size -= l.checkpointRoom()
	}
	if active.bare {
		least += l.beginRoom()
	}
	active.limitTo(size, least)
}

// write puts everything of the group into tx, after the log's state when that is the segment's first, and
// before its end when that is the last.
func (c *committer) write(g *group, tx *bolt.Tx, active *segmentFile) error {
	if active.bare {
		if err := c.log.begin(tx); err != nil {
			return err
		}
	}
	if err := g.write(c, tx, active); err != nil || g.successor == nil {
		return err
	}
	return active.writeSeal(tx, g.blocks)
}

// failed decides what an error of store means for the log.
func (c *committer) failed(g *group, err error) error {
	for i := range g.cursors {
		g.cursors[i].failed()
	}
	c.mu.Lock()
	for i := range c.syncs { // the places that they wait for may be among these
		c.syncs[i].until = c.log.dirty.end()
	}
	c.mu.Unlock()
	var ce *commitError
	if errors.As(err, &ce) && ce.harmless {
		full := &FullError{Used: c.log.Stat().Bytes, RetryAfter: retryAfter}
		switch {
		case tooLong(err):
			full.Max = c.log.opts.MaxSize
		case !noSpace(err):
			full.Shortage = ce.err
		}
		c.log.opts.Logger.Warn("commit rejected before anything of it was stored", "cause", full, "error", err)
		c.log.noteFull()
		c.due = time.Now().Add(CheckpointInterval)
		return full
	}
	c.log.fail(err)
	return fmt.Errorf("%w; the outcome of this append is unknown", c.log.Failed())
}

// stored makes the group visible to readers.
func (c *committer) stored(g *group, took time.Duration) {
	l := c.log
	active := l.active()
	active.end = g.end
	index := active.index.Load()
	for _, value := range g.blocks {
		active.last++
		index.addValue(value, active.last)
	}
	if active.bare {
		l.truncator.begun.Store(active.seq)
		poke(l.truncator.wake)
	}
	l.show(g, active, index)
	for i := range g.cursors {
		g.cursors[i].committed()
	}
	c.forgotten = c.forgotten[:0]
	if g.successor != nil {
		l.roll(active, g.successor)
	}
	if g.events > 0 {
		l.noteRoom()
	}
	if f := l.opts.OnCommit; f != nil && g.events > 0 {
		f(CommitInfo{Events: g.events, Bytes: g.bytes(), Duration: took})
	}
}

// show lets readers see the group's events.
func (l *Log) show(g *group, active *segmentFile, index *blockIndex) {
	l.mu.Lock()
	active.bare = false
	for _, p := range g.parts {
		sp := index.span(p.stream.name)
		active.spans[p.stream.name] = sp
		before := l.grow(p.stream, sp.next, sp.after)
		l.flow.Add(sp.after - before)
	}
	l.mu.Unlock()
}
