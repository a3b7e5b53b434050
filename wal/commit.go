package wal

import (
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/queue"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// commitNext gathers one group, commits it, and responds to its callers. It reports whether appends are left for
// another.
func (c *committer) commitNext() (more bool) {
	g := &commitGroup{}
	c.gather(g)
	if err := c.log.Failed(); err != nil {
		c.rejectAll(fmt.Errorf("%w; nothing of this append was stored", err))
		g.respond(c, err)
		return false
	}
	if c.passed.Swap(false) {
		c.renewIfFull()
	}
	c.admitWaiting(g)
	if len(g.tickets) > 0 || g.checkpoint {
		err := c.commit(g)
		if g.checkpoint && c.log.capacity.NotedFull() {
			c.log.truncator.AfterPass(func() {
				c.passed.Store(true)
				queue.Poke(c.wake)
			})
		}
		g.respond(c, err)
	}
	return len(c.waiting) > 0 && !c.full
}

// commit stores the group with one transaction, which syncs twice: the pages, then the meta page. When it returns nil,
// everything in the group is on disk. If it returns ErrFull, nothing of the group is stored, and the log continues.
// After any other error the outcome is unknown and the log has failed. The caller leads, and responds to the group's
// callers.
func (c *committer) commit(g *commitGroup) error {
	l, active := c.log, c.log.segments.Newest()

	// Collect the cursors that moved, if a checkpoint is due. Close should not leave a newest segment without a state,
	// and in a full log the segment before it is unlinked only once it has one. So these commits begin the newest
	// segment even without events.
	g.begins = active.Preallocated() && (c.closed || g.checkpoint && l.capacity.NotedFull())
	if g.checkpoint {
		c.collectCursors(g)
	}
	c.collectDeletions(g, active)

	if g.stores() {
		start := time.Now()

		// Lay the events into blocks that continue the segment's last leaf.
		g.lay(&c.blocks, active.End())

		// Roll if the group fills the segment. The same transaction then seals it.
		var err error
		if g.successor, err = l.roller.Successor(active, active.Used()+l.capacity.Growth(g.bytes())); err != nil {
			return c.abort(g, err)
		}

		// Allocate disk blocks and address space. A shortage shows here, before any byte of the commit is written.
		if err := c.prepare(g, active); err != nil {
			return c.abort(g, err)
		}

		// Write the pages and sync them, then write the meta page and sync it: tx.Commit in segfile.File.Update.
		err = active.Update(func(tx *bolt.Tx) error {
			if active.Preallocated() {
				if err := l.beginState(tx); err != nil {
					return err
				}
			}
			if err := g.write(c, tx, active); err != nil || g.successor == nil {
				return err
			}
			return active.PutSeal(tx, g.blocks)
		})
		if hook := l.opts.afterCommit; hook != nil && err == nil {
			err = hook()
		}
		if err != nil {
			return c.abort(g, err)
		}

		// Publish: readers see the events, truncation the checkpoints, and the successor takes the next appends.
		c.publish(g, active, time.Since(start))
		if err := l.roller.SealIfLarge(); err != nil {
			l.fail(err)
		}
	}

	if len(g.cursors) > 0 || g.begins || l.truncator.TakeSearch() {
		l.truncator.Checkpointed()
	}
	return nil
}

// prepare allocates the bytes that the transaction needs, and limits the length of the file.
func (c *committer) prepare(g *commitGroup, active *liveset.Segment) error {
	l := c.log
	if hook := l.opts.beforeCommit; hook != nil {
		if err := hook(); err != nil {
			return err
		}
	}
	if active.Preallocated() {
		c.producers.Trim(l.capacity.MostRuns())
	}
	if g.need > 0 {
		if err := l.capacity.Allocate(active, g.need, segfile.SealAhead); err != nil {
			return &segfile.CommitError{Err: err, Harmless: disk.Shortage(err)}
		}
	}
	// The group must not use the bytes that are reserved for a checkpoint, the seal and the next segment.
	size, least := l.capacity.Limit(), int64(0)
	if g.successor == nil {
		size -= active.SealRoom()
	}
	if g.checkpoint {
		least = l.capacity.CheckpointBytes()
	} else if !active.Preallocated() {
		size -= l.capacity.CheckpointBytes()
	}
	if active.Preallocated() {
		least += l.capacity.BytesToBegin()
	}
	active.LimitTo(size, least)
	return nil
}

// publish makes the stored group visible.
func (c *committer) publish(g *commitGroup, active *liveset.Segment, took time.Duration) {
	l := c.log
	index := active.Stored(g.blocks, g.end)
	if active.Preallocated() {
		l.truncator.Began(active.Seq)
	}
	c.show(g, active, index)
	for i := range g.cursors {
		g.cursors[i].committed()
	}
	if g.successor != nil {
		l.roller.Roll(active, g.successor)
	}
	if g.events > 0 {
		l.capacity.NoteStored()
	}
	if f := l.opts.OnCommit; f != nil && g.events > 0 {
		f(CommitInfo{Events: g.events, Bytes: g.bytes(), Duration: took})
	}
}

// show publishes the group's events to readers.
func (c *committer) show(g *commitGroup, active *liveset.Segment, index *segment.BlockIndex) {
	c.log.segments.Publish(active, func(to liveset.Spans) {
		for _, p := range g.parts {
			sp := index.Span(p.stream.name)
			to.Put(p.stream.name, sp)
			before := c.log.streams.grow(p.stream, sp.Next, sp.After)
			c.log.flow.Add(sp.After - before)
		}
	})
}

// abort undoes a group that failed with err, and returns the error for its callers: a *FullError if the log goes on,
// otherwise ErrFailed, after which the log stores nothing more.
func (c *committer) abort(g *commitGroup, err error) error {
	c.producers.Undo(g.producers)
	c.log.deletions.add(g.deletions)
	for i := range g.cursors {
		g.cursors[i].failed()
	}
	c.mu.Lock()
	for i := range c.syncs { // the cursors they wait for may be among these
		c.syncs[i].until = c.dirty.End()
	}
	c.mu.Unlock()
	var ce *segfile.CommitError
	if errors.As(err, &ce) && ce.Harmless {
		full := &FullError{Used: c.log.Stat().Bytes, RetryAfter: capacity.RetryAfter}
		switch {
		case segment.TooLong(err):
			full.Max = c.log.opts.MaxSize
		case !disk.NoSpace(err):
			full.Shortage = ce.Err
		}
		c.log.opts.Logger.Warn("commit rejected before anything of it was stored", "cause", full, "error", err)
		c.log.capacity.NoteFull()
		c.due = time.Now().Add(CheckpointInterval)
		return full
	}
	c.log.fail(err)
	return fmt.Errorf("%w; the outcome of this append is unknown", c.log.Failed())
}
