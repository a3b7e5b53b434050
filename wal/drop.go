package wal

// makeRoom is called when an append waits because the log is full. Under DropOldest it asks every
// destination that still needs the oldest sealed segment to drop what it has not settled of it;
// the segment is truncated once they have.
func (l *Log) makeRoom() {
	if l.opts.OnFull != DropOldest {
		return
	}
	raised := false
	for _, o := range l.oldest() {
		s := l.stream(o.stream)
		news := s.dropBelow(o.next)
		raised = raised || news
		for _, p := range s.sortedPlaces() {
			if !p.dropBelow(o.next) {
				l.dropParked(p, o.next)
			}
		}
		if news {
			s.grown.wake()
		}
	}
	if raised {
		l.truncateSoon.Store(true)
		l.touch()
	}
}

// dropBelow raises the floor and tells whether that was news.
func (s *stream) dropBelow(next uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next <= s.floor {
		return false
	}
	s.floor = next
	return true
}

// streamEnd is where a stream ends in a segment.
type streamEnd struct {
	stream string
	next   uint64
}

// oldest returns what the oldest sealed segment holds.
func (l *Log) oldest() (ends []streamEnd) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.segments) < 2 {
		return nil
	}
	for name, sp := range l.segments[0].spans {
		ends = append(ends, streamEnd{name, sp.next})
	}
	return ends
}

// dropBelow raises the floor. It returns false when nobody ships from the place.
func (p *Place) dropBelow(next uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.floor = max(p.floor, next)
	return p.opened
}

// dropParked drops for a destination that is not configured any more.
func (l *Log) dropParked(p *Place, next uint64) {
	if !l.losing.TryLock() {
		return // it is being reckoned what is lost: the next look comes soon
	}
	defer l.losing.Unlock()
	marks := p.Marks()
	moved, from := make(map[uint8]Mark), next
	for lane, m := range marks {
		if m.Checkpoint < next {
			moved[uint8(lane)] = Mark{Checkpoint: next, Settled: runsFrom(m.Settled, next)}
			from = min(from, m.Checkpoint)
		}
	}
	if len(moved) == 0 {
		return
	}
	c, err := l.unsettled(p.stream.name, &marks, from, next)
	if err != nil {
		l.opts.Logger.Warn("could not count what a parked destination drops", "stream", p.stream.name,
			"destination", p.name, "error", err)
		return
	}
	p.settleParked(Settlement{Marks: moved, Add: Ledger{Dropped: map[string]Count{DroppedFull: c}}})
}

// settleParked is Settle unless somebody ships from the place by now.
func (p *Place) settleParked(s Settlement) {
	p.stream.mu.Lock()
	p.mu.Lock()
	if !p.opened {
		p.settleLocked(&s)
	}
	p.mu.Unlock()
	p.stream.mu.Unlock()
	p.log.touch()
}

// runsFrom returns what of the runs lies at or beyond offset.
func runsFrom(runs []Run, offset uint64) (rest []Run) {
	for _, r := range runs {
		if r.Next > offset {
			rest = append(rest, Run{max(r.First, offset), r.Next})
		}
	}
	return rest
}
