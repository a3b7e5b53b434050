package commit

import (
	"os"

	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/producer"
	"github.com/standpipe/standpipe/wal/internal/segfile"
)

// deletions are the entries of the state that the log no longer needs but the newest segment still has: those of evicted
// producers. Deleting entries writes their pages again, so a commit deletes them only if there are enough free bytes. A
// new segment begins without them.
type deletions struct {
	producers []producer.Key
	pages     int64 // bytes that the entries take of the state
}

func (d *deletions) add(o deletions) {
	d.producers = append(d.producers, o.producers...)
	d.pages += o.pages
}

// take returns the entries and removes them.
func (d *deletions) take() (taken deletions) {
	taken, *d = *d, deletions{}
	return taken
}

// need returns the most bytes by which deleting all entries makes the newest segment grow: two pages for each, or all
// of the state's pages, which are half empty at worst: stateBytes and those of the entries. 0: there are none.
func (d *deletions) need(stateBytes int64) int64 {
	return min(int64(len(d.producers)*2*os.Getpagesize()), 2*(stateBytes+d.pages))
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
