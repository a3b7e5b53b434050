package wal

// makeRoom is called when an append waits because the log is full. Under DropOldest it asks every
// destination that still needs the oldest sealed segment to drop what it has not settled of it;
// the segment is truncated once they have.
func (l *Log) makeRoom() {
	if l.opts.OnFull != DropOldest {
		return
	}
	for _, o := range l.oldest() {
		for _, p := range l.Places(o.stream) {
			if !p.dropBelow(o.next) {
				l.dropParked(p, o.next)
			}
		}
		l.stream(o.stream).grown.wake()
	}
	l.touch()
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
	marks := p.Marks()
	c, err := l.unsettled(p.stream.name, &marks, p.Stat().Checkpoint, next)
	if err != nil {
		l.opts.Logger.Warn("could not count what a parked destination drops", "stream", p.stream.name,
			"destination", p.name, "error", err)
		return
	}
	moved := make(map[uint8]Mark)
	for lane, m := range marks {
		if m.Checkpoint < next {
			moved[uint8(lane)] = Mark{Checkpoint: next, Settled: runsFrom(m.Settled, next)}
		}
	}
	if len(moved) > 0 {
		p.Settle(Settlement{Marks: moved, Add: Ledger{Dropped: map[string]Count{DroppedFull: c}}})
	}
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
