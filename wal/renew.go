package wal

import "time"

// A full log of which nothing is pending has one segment left, which takes no more events and is not sealed before it is
// large: no append, so no seal, and no truncation. renew ends that segment however short it is.

// renew makes room for need bytes, if it can: it replaces the newest segment by the next one when no destination needs its
// events. It returns once the old one is unlinked.
func (c *committer) renew(need int64) bool {
	l := c.log
	if c.closed || l.Failed() != nil || time.Now().Before(c.renewAgain) {
		return false
	}
	if active := l.segments.active(); !active.bare {
		if !c.spent(active, need) {
			return false
		}
		if !c.seal(active) {
			c.renewAgain = time.Now().Add(CheckpointInterval)
			return false
		}
	}
	// The one before it stays until this one has begun.
	if l.capacity.fullSince.Load() == nil {
		l.capacity.noteFull()
	}
	if c.commit(&commitGroup{checkpoint: true}) != nil {
		c.renewAgain = time.Now().Add(CheckpointInterval)
		return false
	}
	c.barrier()
	l.capacity.noteRoom()
	c.room = c.space()
	return true
}

// spent reports whether no destination needs the events of the newest segment, and need bytes would have room without it.
func (c *committer) spent(active *segmentFile, need int64) bool {
	l := c.log
	moves := c.moves.Load() + 1
	if active.empty() || c.needed == moves || l.capacity.space()+active.used.Load()-l.capacity.beginRoom() < need {
		return false
	}
	if !l.segments.doneWith(active) {
		c.needed = moves // until a destination settles events
		return false
	}
	return true
}

// renewIfFull renews a full log without an append that needs room: producers may send nothing until the log has room.
func (c *committer) renewIfFull() {
	if l := c.log; l.capacity.fullSince.Load() != nil && l.capacity.space() < l.capacity.plenty() {
		c.renew(l.capacity.plenty())
	}
}

// firstNeeded returns the first offset that some destination has not settled. A stream without a destination keeps
// everything that it need not drop.
func (s *stream) firstNeeded() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cursors) == 0 {
		return s.floor.Offset()
	}
	return s.checkpointLocked()
}

// seal ends the newest segment however short it is.
func (c *committer) seal(active *segmentFile) bool {
	l := c.log
	if l.roller.coming == nil {
		l.roller.coming = l.roller.makeReady(active.seq + 1)
	}
	next, err := l.roller.readyNext(0)
	if err != nil {
		l.opts.Logger.Warn("full segment not replaced", "segment", active.path, "error", err)
		return false
	}
	sealed, err := l.roller.seal(active, next)
	if err != nil {
		l.fail(err)
	}
	if sealed {
		l.opts.Logger.Debug("full segment of settled events sealed", "segment", active.path, "bytes", active.used.Load())
	}
	return sealed
}

// barrier waits for a pass of the truncator.
func (c *committer) barrier() {
	done := make(chan struct{})
	c.log.truncator.afterPass(func() { close(done) })
	<-done
}
