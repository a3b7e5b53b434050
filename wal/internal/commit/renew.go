package commit

import (
	"time"

	"github.com/standpipe/standpipe/wal/internal/liveset"
)

// renew frees at least need bytes if it can. If no destination needs the events of the newest segment, renew seals it
// however short it is, begins the next one, and returns once the old one is unlinked. A segment that lacks a part of the
// state is not sealed.
//
// Otherwise a full log would stay full after all events are settled: its one segment takes no more events, is sealed
// only by the append that fills it, and is not unlinked before it is sealed.
func (c *Committer) renew(need int64) bool {
	if c.closed || c.o.Failed() != nil || time.Now().Before(c.renewAgain) {
		return false
	}
	if active := c.o.Segments.Newest(); !active.Preallocated() {
		if active.Continued() || !c.spent(active, need) {
			return false
		}
		if !c.o.Roller.Renew(active) {
			c.renewAgain = time.Now().Add(SoonInterval)
			return false
		}
	}
	// The old segment is not unlinked before the next one has begun: the commit begins it.
	if !c.o.Capacity.NotedFull() {
		c.o.Capacity.NoteFull()
	}
	if c.commit(&group{checkpoint: true}) != nil {
		c.renewAgain = time.Now().Add(SoonInterval)
		return false
	}
	c.o.Truncator.AwaitPass()
	c.o.Capacity.NoteStored()
	c.free = c.o.Capacity.SpaceForCommit()
	return true
}

// spent reports whether no destination needs the events of the newest segment, and need bytes would be free without it.
func (c *Committer) spent(active *liveset.Segment, need int64) bool {
	moves := c.moves.Load() + 1
	if active.Empty() || c.needed == moves || c.o.Capacity.Space()+active.Used()-c.o.Capacity.BytesToBegin() < need {
		return false
	}
	if !c.o.Segments.Settled(c.o.Streams.Needs) {
		c.needed = moves // until a destination settles events
		return false
	}
	return true
}

// renewIfFull renews a full log without an append that needs bytes: producers may send nothing until the log has some.
func (c *Committer) renewIfFull() {
	if c.o.Capacity.NotedFull() && c.o.Capacity.Space() < c.o.Capacity.Plenty() {
		c.renew(c.o.Capacity.Plenty())
	}
}
