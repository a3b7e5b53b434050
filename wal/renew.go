package wal

import (
	"time"

	"github.com/standpipe/standpipe/wal/internal/liveset"
)

// renew frees at least need bytes if it can. If no destination needs the events of the newest segment, renew seals it
// however short it is, begins the next one, and returns once the old one is unlinked.
//
// Otherwise a full log would stay full after all events are settled: its one segment takes no more events, is sealed
// only by the append that fills it, and is not unlinked before it is sealed.
func (c *committer) renew(need int64) bool {
	l := c.log
	if c.closed || l.Failed() != nil || time.Now().Before(c.renewAgain) {
		return false
	}
	if active := l.segments.Newest(); !active.Preallocated() {
		if !c.spent(active, need) {
			return false
		}
		if !l.roller.Renew(active) {
			c.renewAgain = time.Now().Add(CheckpointInterval)
			return false
		}
	}
	// The old segment is not unlinked before the next one has begun: the commit begins it.
	if !l.capacity.NotedFull() {
		l.capacity.NoteFull()
	}
	if c.commit(&commitGroup{checkpoint: true}) != nil {
		c.renewAgain = time.Now().Add(CheckpointInterval)
		return false
	}
	c.barrier()
	l.capacity.NoteStored()
	c.room = c.log.capacity.SpaceForCommit()
	return true
}

// spent reports whether no destination needs the events of the newest segment, and need bytes would be free without it.
func (c *committer) spent(active *liveset.Segment, need int64) bool {
	l := c.log
	moves := c.moves.Load() + 1
	if active.Empty() || c.needed == moves || l.capacity.Space()+active.Used()-l.capacity.BytesToBegin() < need {
		return false
	}
	if !l.segments.Settled(l.streams.firstNeeded) {
		c.needed = moves // until a destination settles events
		return false
	}
	return true
}

// renewIfFull renews a full log without an append that needs room: producers may send nothing until the log has room.
func (c *committer) renewIfFull() {
	if l := c.log; l.capacity.NotedFull() && l.capacity.Space() < l.capacity.Plenty() {
		c.renew(l.capacity.Plenty())
	}
}

// firstNeeded returns the first offset of the stream that some destination has not settled. A stream without a
// destination keeps all events at or above its floor.
func (t *streamTable) firstNeeded(stream string) uint64 {
	s := t.lookup(stream)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cursors) == 0 {
		return s.floor.Offset()
	}
	return s.checkpointLocked()
}

// barrier waits for a pass of the truncator.
func (c *committer) barrier() {
	done := make(chan struct{})
	c.log.truncator.AfterPass(func() { close(done) })
	<-done
}
