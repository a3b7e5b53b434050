package commit

import (
	"errors"
	"fmt"
	"time"

	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/queue"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// commitNext gathers one group, commits it, and responds to its callers. It reports whether appends are left for
// another.
func (c *Committer) commitNext() (more bool) {
	if c.callers.missing() && c.crowded() {
		c.callers.await(c.o.Closing)
	}
	g := &group{}
	c.gather(g)
	if err := c.o.Failed(); err != nil {
		c.rejectAll(fmt.Errorf("%w; nothing of this append was stored", err))
		g.respond(c, err)
		return false
	}
	if c.passed.Swap(false) {
		c.renewIfFull()
	}
	c.admitWaiting(g)
	g.checkpoint = g.checkpoint || len(g.parts) > 0 && c.checkpoint.near(time.Now())
	if len(g.tickets) > 0 || g.checkpoint {
		start := time.Now()
		err := c.commit(g)
		took := time.Since(start)
		if g.checkpoint && c.o.Capacity.NotedFull() {
			c.o.Truncator.AfterPass(func() {
				c.passed.Store(true)
				queue.Poke(c.wake)
			})
		}
		c.callers.committed(g, took) // before any of them returns
		g.respond(c, err)
	}
	return len(c.waiting) > 0 && !c.full
}

// commit stores the group with one transaction and one sync. When it returns nil, everything in the group is on disk. If it returns
// ErrFull, nothing of the group is stored, and the log continues.
// After any other error the outcome is unknown and the log has failed. The caller leads, and responds to the group's
// callers.
func (c *Committer) commit(g *group) error {
	active := c.o.Segments.Newest()

	// Collect the cursors that moved, if a checkpoint is due. Close should not leave a newest segment without a state,
	// and in a full log the segment before it is unlinked only once it has one. So these commits begin the newest
	// segment even without events.
	full := g.checkpoint && c.o.Capacity.NotedFull()
	g.begins = active.Preallocated() && (c.closed || full)
	if g.checkpoint {
		c.collectCursors(g)
	}
	c.collectDeletions(g, active)
	g.carries(active, full)

	if g.stores() || c.closed && active.HasSmall() {
		start := time.Now()

		// Lay the events into blocks that continue the segment's last leaf.
		g.lay(&c.blocks, active.End())

		// Roll if the group fills the segment. The same transaction then seals it.
		var err error
		if g.successor, err = c.o.Roller.Successor(active, active.Used()+active.SmallGrowth()+c.o.Capacity.Growth(g.bytes())); err != nil {
			return c.abort(g, err)
		}

		// Allocate disk blocks and address space. A shortage shows here, before any byte of the commit is written.
		if err := c.prepare(g, active); err != nil {
			return c.abort(g, err)
		}

		// A small group takes one page, and one sync.
		stored, err := g.storeSmall(c, active)
		if err != nil {
			return c.abort(g, err)
		}

		// Others take a transaction: write the pages and the meta page, and sync them: segfile.File.Update.
		if !stored {
			err = g.update(c, active)
		}
		if hook := c.o.AfterCommit; hook != nil && err == nil {
			err = hook()
		}
		if err != nil {
			return c.abort(g, err)
		}

		// Publish: readers see the events, truncation the checkpoints, and the successor takes the next appends.
		c.publish(g, active, time.Since(start))
		if err := c.o.Roller.SealIfLarge(); err != nil {
			c.o.Fail(err)
		}
	}

	if len(g.cursors) > 0 || g.begins || c.o.Truncator.TakeSearch() {
		c.o.Truncator.Checkpointed()
	}
	return nil
}

// prepare allocates the bytes that the transaction needs, and limits the length of the file.
func (c *Committer) prepare(g *group, active *liveset.Segment) error {
	if hook := c.o.BeforeCommit; hook != nil {
		if err := hook(); err != nil {
			return err
		}
	}
	if active.Preallocated() {
		c.producers.Trim(c.o.Capacity.MostRuns())
		c.producers.Begin(active.Seq)
	}
	if g.need > 0 {
		if err := c.o.Capacity.Allocate(active, g.need, segfile.SealAhead); err != nil {
			return &segfile.CommitError{Err: err, Harmless: disk.Shortage(err)}
		}
	}
	// The group must not use the bytes that are reserved for a checkpoint, the seal and the next segment.
	size, least := c.o.Capacity.Limit(), int64(0)
	if g.successor == nil {
		size -= active.SealBytes()
	}
	if g.checkpoint || active.HasSmall() { // these may have put any cursor
		least = c.o.Capacity.CheckpointBytes()
	} else if !active.Preallocated() {
		size -= c.o.Capacity.CheckpointBytes()
	}
	if active.Preallocated() {
		least += c.o.Capacity.BytesToBegin()
	}
	least += c.o.Capacity.Carry.Bytes() + active.SmallGrowth()
	active.LimitTo(size, least)
	return nil
}

// publish makes the stored group visible.
func (c *Committer) publish(g *group, active *liveset.Segment, took time.Duration) {
	index := active.Stored(g.blocks, g.end)
	if active.Preallocated() {
		c.o.Truncator.Began(active.Seq)
	}
	c.producers.Stored(g.producers)
	carried := active.Continued() && !g.continued
	c.o.Capacity.Carry.Set(c.producers.Left())
	c.show(g, active, index)
	switch {
	case g.continued: // the next commit carries on
		c.checkpoint.within(0)
	case carried: // the segment before may be unlinked
		c.o.Truncator.Checkpointed()
	}
	for i := range g.cursors {
		g.cursors[i].Committed()
	}
	if g.successor != nil {
		c.o.Roller.Roll(active, g.successor)
	}
	if g.events > 0 {
		c.o.Capacity.NoteStored()
	}
	if f := c.o.Committed; f != nil && g.events > 0 {
		f(Info{Events: g.events, Bytes: g.bytes(), Duration: took})
	}
}

// show publishes the group's events to readers.
func (c *Committer) show(g *group, active *liveset.Segment, index *segment.BlockIndex) {
	c.o.Segments.Publish(active, g.continued, func(to liveset.Spans) {
		for _, p := range g.parts {
			sp := index.Span(p.name)
			to.Put(p.name, sp)
			p.stream.Grow(sp.Next, sp.After)
		}
	})
}

// abort undoes a group that failed with err, and returns the error for its callers: a *FullError if the log goes on,
// otherwise ErrFailed, after which the log stores nothing more.
func (c *Committer) abort(g *group, err error) error {
	c.producers.Undo(g.producers)
	c.receipts.Undo(g.receipts)
	c.deletions.add(g.deletions)
	for i := range g.cursors {
		g.cursors[i].Failed()
	}
	c.mu.Lock()
	for i := range c.syncs { // the cursors they wait for may be among these
		c.syncs[i].until = c.o.Cursors.End()
	}
	c.mu.Unlock()
	var ce *segfile.CommitError
	if errors.As(err, &ce) && ce.Harmless {
		full := &FullError{Used: c.o.used(), RetryAfter: capacity.RetryAfter}
		switch {
		case segment.TooLong(err):
			full.Max = c.o.Capacity.Max()
		case !disk.NoSpace(err):
			full.Shortage = ce.Err
		}
		c.o.Logger.Warn("commit rejected before anything of it was stored", "cause", full, "error", err)
		c.o.Capacity.NoteFull()
		c.checkpoint = deadline{}
		c.checkpoint.within(SoonInterval)
		return full
	}
	c.o.Fail(err)
	return fmt.Errorf("%w; the outcome of this append is unknown", c.o.Failed())
}
