package wal

import (
	"fmt"
	"os"
	"sync"

	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/producer"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// deletions holds the entries of the state that the log no longer needs but the newest segment still has: the entries
// of evicted producers, and of closed cursors whose streams never had an event. Deleting entries writes their pages
// again, so a commit deletes them only if there is room for that. A new segment begins without them.
type deletions struct {
	log *Log

	mu      sync.Mutex // acquired after a cursor's
	entries deletedEntries
}

// deletedEntries are entries of the state, and the bytes that they take of it.
type deletedEntries struct {
	producers []producer.Key
	cursors   []*Cursor
	pages     int64
}

func (e *deletedEntries) count() int { return len(e.producers) + len(e.cursors) }

func (e *deletedEntries) add(o deletedEntries) {
	e.producers = append(e.producers, o.producers...)
	e.cursors = append(e.cursors, o.cursors...)
	e.pages += o.pages
}

func (d *deletions) add(e deletedEntries) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries.add(e)
}

// closed removes a closed cursor from the state until its stream has an event.
func (d *deletions) closed(p *Cursor) {
	p.stream.mu.Lock()
	defer p.stream.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.inState || p.opened || p.stream.stored.Load() {
		return
	}
	d.log.capacity.AddCursor(-p.pages)
	d.add(deletedEntries{cursors: []*Cursor{p}, pages: p.pages})
	p.inState, p.pages = false, 0
	d.log.committer.touch()
}

// take returns the entries and removes them.
func (d *deletions) take() (e deletedEntries) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, d.entries = d.entries, deletedEntries{}
	return e
}

// need returns the most bytes by which deleting all entries makes the newest segment grow: two pages for each, or all
// of the state's pages, which are half empty at worst. 0: there are none.
func (d *deletions) need() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	state := d.log.capacity.StateBytes.Load() + d.entries.pages
	return min(int64(d.entries.count()*2*os.Getpagesize()), 2*state)
}

// collectDeletions adds the deletions to the group if there is room for them beside its appends.
func (c *committer) collectDeletions(g *commitGroup, active *liveset.Segment) {
	l := c.log
	need := l.deletions.need()
	if need == 0 {
		return
	}
	if active.Preallocated() {
		if g.stores() {
			g.deletions = l.deletions.take()
		}
		return
	}
	room := c.room
	if g.need == 0 {
		room = c.log.capacity.SpaceForCommit()
	}
	if g.need+need > room || l.capacity.Allocate(active, g.need+need, segfile.SealAhead) != nil {
		return
	}
	g.deletions = l.deletions.take()
	g.need += need
}

// write deletes the entries, except those of a producer or cursor that is part of the state again.
func (e *deletedEntries) write(ps *producer.Set, state *segment.StateWriter) error {
	if err := ps.Delete(e.producers, state); err != nil {
		return err
	}
	for _, p := range e.cursors {
		p.mu.Lock()
		kept := p.inState
		p.mu.Unlock()
		if kept {
			continue
		}
		if err := state.Bucket.Delete(segment.StateKey(segment.StateCursor, p.stream.name, p.name)); err != nil {
			return fmt.Errorf("delete cursor: %w", err)
		}
	}
	return nil
}
