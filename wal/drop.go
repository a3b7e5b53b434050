package wal

import (
	"slices"

	"github.com/standpipe/standpipe/wal/internal/cursor"
	"github.com/standpipe/standpipe/wal/internal/queue"
)

// dropOldest is called when an append waits because the log is full. Under DropOldest it makes every destination drop its
// unsettled events of the oldest segment, which is unlinked after that. If there is one segment only, it is renewed.
func (r *retention) dropOldest() {
	if r.log.whenFull() != DropOldest {
		return
	}
	for stream, end := range r.log.segments.OldestEnds() {
		r.dropBelow(r.log.streams.lookup(stream), Floor{Full: end})
	}
}

// dropBelow makes every destination of the stream drop its unsettled events below the floor. The shipper of an open
// cursor reads the floor from Cursor.Floor and drops them; runParked does it for a parked cursor. The committer calls
// dropBelow, so it reads no segment.
func (r *retention) dropBelow(s *stream, f Floor) {
	raised := s.raise(f)
	for _, p := range s.sortedCursors() {
		if !p.raise(f) {
			queue.Poke(r.parkedBehind)
		}
	}
	if raised {
		s.grown.Wake()
		r.log.truncator.SearchLater()
		r.log.committer.Touch(CheckpointInterval)
	}
}

// raise raises the floor, and reports whether it was lower.
func (s *stream) raise(f Floor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.floor
	s.floor = s.floor.Raised(f)
	return s.floor != before
}

// raise raises the floor, and reports whether a shipper drops the events below it.
func (p *Cursor) raise(f Floor) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.floor = p.floor.Raised(f)
	return p.shippedLocked()
}

// runParked drops events for destinations without a shipper, until the log closes.
func (r *retention) runParked() {
	defer close(r.parkedDone)
	for {
		select {
		case <-r.parkedBehind:
		case <-r.log.closing:
			return
		}
		for _, p := range r.log.streams.cursors() {
			if p.dropsLate() && r.log.usable() == nil {
				r.dropParked(p)
			}
		}
	}
}

// dropsLate reports whether the cursor has no shipper and unsettled events below its floor.
func (p *Cursor) dropsLate() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.shippedLocked() && p.checkpointLocked() < p.floor.Offset()
}

// dropParked drops events for a destination without a shipper: it is no longer configured, or cannot be built yet.
func (r *retention) dropParked(p *Cursor) {
	r.log.damage.mu.Lock() // no loss is counted meanwhile
	defer r.log.damage.mu.Unlock()
	lanes, parking, floor := p.Lanes(), p.parking(), p.Floor()
	next := floor.Offset()
	if parking.Next > 0 {
		next = min(next, parking.Next)
	}
	moved, from := cursor.SettledBelow(&lanes, next)
	if len(moved) == 0 {
		return
	}
	dropped := make(map[string]Count)
	aged := min(max(from, floor.Age), next)
	for _, part := range []Run{{First: from, Next: aged}, {First: aged, Next: next}} {
		c, lost, err := r.log.damage.counter.Unsettled(p.stream.name, &lanes, part.First, part.Next)
		if err == nil && len(lost) > 0 { // they are no drops of a policy: count them first
			err = r.log.damage.reconcileLocked(p.checkLoss(nil))
			queue.Poke(r.parkedBehind)
		}
		if err != nil || len(lost) > 0 {
			if err != nil && err != errOwned && err != ErrClosed { //nolint:errorlint // Unsettled returns it as it is
				r.log.opts.Logger.Warn("could not count the drops of a parked destination", "stream", p.stream.name,
					"destination", p.name, "error", err)
			}
			return
		}
		if c.Events > 0 {
			dropped[floor.Reason(part.First)] = c
		}
	}
	r.log.opts.parkedStep()
	p.settleParked(&lanes, parking, Settlement{Lanes: moved, Add: Ledger{Dropped: dropped}})
}

// settleParked applies s, unless a shipper has begun by now, or the cursor is no longer at the lanes and the parking by
// which the events were counted. In the second case they are counted again.
func (p *Cursor) settleParked(lanes *[Lanes]Progress, parking Parking, s Settlement) {
	p.stream.mu.Lock()
	p.mu.Lock()
	var err error
	since := p.at.Parking.Next == parking.Next && slices.EqualFunc(p.at.Lanes[:], lanes[:], Progress.Equal)
	if !p.shippedLocked() && since {
		err = p.settleLocked(&s)
	}
	p.mu.Unlock()
	p.stream.mu.Unlock()
	if err != nil { // not expected: s moves lanes, and counts pending events only
		p.log.opts.Logger.Error("drops of a parked destination not settled", "error", err)
	}
	p.log.committer.Touch(CheckpointInterval)
	p.stream.settled.Wake()
	if !since {
		queue.Poke(p.log.retention.parkedBehind)
	}
}
