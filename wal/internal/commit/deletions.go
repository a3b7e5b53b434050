package commit

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
// again, so a commit deletes them only if there are enough free bytes. A new segment begins without them.
type deletions struct {
	mu      sync.Mutex // acquired after a cursor's
	entries deletedEntries
}

// Deletable is an entry of the state that the log no longer needs.
type Deletable interface {
	Key() []byte
	// Wanted reports whether the entry is part of the state again.
	Wanted() bool
}

// deletedEntries are entries of the state, and the bytes that they take of it.
type deletedEntries struct {
	producers []producer.Key
	cursors   []Deletable
	pages     int64
}

func (e *deletedEntries) count() int { return len(e.producers) + len(e.cursors) }

func (e *deletedEntries) add(o deletedEntries) {
	e.producers = append(e.producers, o.producers...)
	e.cursors = append(e.cursors, o.cursors...)
	e.pages += o.pages
}

// Delete makes a later commit delete the entry, which takes that number of bytes of the state. The caller may hold the
// mutex of a cursor.
func (c *Committer) Delete(entry Deletable, bytes int64) {
	c.deletions.add(deletedEntries{cursors: []Deletable{entry}, pages: bytes})
	c.Touch(SoonInterval)
}

func (d *deletions) add(e deletedEntries) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries.add(e)
}

// take returns the entries and removes them.
func (d *deletions) take() (e deletedEntries) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, d.entries = d.entries, deletedEntries{}
	return e
}

// need returns the most bytes by which deleting all entries makes the newest segment grow: two pages for each, or all
// of the state's pages, which are half empty at worst: stateBytes and those of the entries. 0: there are none.
func (d *deletions) need(stateBytes int64) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return min(int64(d.entries.count()*2*os.Getpagesize()), 2*(stateBytes+d.entries.pages))
}

// collectDeletions adds the deletions to the group if there are enough free bytes for them beside its appends.
func (c *Committer) collectDeletions(g *group, active *liveset.Segment) {
	need := c.deletions.need(c.o.Capacity.StateBytes.Load())
	if need == 0 {
		return
	}
	if active.Preallocated() {
		if g.stores() {
			g.deletions = c.deletions.take()
		}
		return
	}
	free := c.free
	if g.need == 0 {
		free = c.o.Capacity.SpaceForCommit()
	}
	if g.need+need > free || c.o.Capacity.Allocate(active, g.need+need, segfile.SealAhead) != nil {
		return
	}
	g.deletions = c.deletions.take()
	g.need += need
}

// write deletes the entries, except those of a producer or cursor that is part of the state again.
func (e *deletedEntries) write(ps *producer.Set, state *segment.StateWriter) error {
	if err := ps.Delete(e.producers, state); err != nil {
		return err
	}
	for _, entry := range e.cursors {
		if entry.Wanted() {
			continue
		}
		if err := state.Delete(entry.Key()); err != nil {
			return fmt.Errorf("delete cursor: %w", err)
		}
	}
	return nil
}
