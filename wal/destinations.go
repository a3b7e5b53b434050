package wal

import (
	"github.com/standpipe/standpipe/wal/internal/compact"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// destinations are the destinations of all streams, for the compactor.
type destinations struct{ streams *streamTable }

// Settled implements compact.Destinations.
func (d destinations) Settled() (settled, live uint64) {
	for _, s := range d.streams.sorted() {
		s.mu.Lock()
		for _, p := range s.cursors {
			p.mu.Lock()
			settled += compact.Weight(p.at.Ledger.Settled())
			p.mu.Unlock()
		}
		live += s.liveLocked()
		s.mu.Unlock()
	}
	return settled, live
}

// liveLocked returns about how many bytes at least one destination needs. The pending events of most destinations
// overlap, so the most that one has stands for all. Those of a parked destination that end before all others begin
// count in addition.
func (s *stream) liveLocked() uint64 {
	if len(s.cursors) == 0 {
		return compact.Weight(s.appendedLocked())
	}
	begin := s.next
	for _, p := range s.cursors {
		p.mu.Lock()
		if needed := p.at.Needed(); needed.Next == segment.NoEnd {
			begin = min(begin, needed.First)
		}
		p.mu.Unlock()
	}
	most, before := uint64(0), uint64(0)
	for _, p := range s.cursors {
		p.mu.Lock()
		pending := compact.Weight(p.pendingLocked())
		if p.at.Needed().Next <= begin {
			before = max(before, pending)
		} else {
			most = max(most, pending)
		}
		p.mu.Unlock()
	}
	return most + before
}

// Needs implements compact.Destinations.
func (d destinations) Needs(stream string) *compact.Needs {
	s := d.streams.lookup(stream)
	n := &compact.Needs{Low: s.low()}
	for _, p := range s.sortedCursors() {
		p.mu.Lock()
		n.Lanes = append(n.Lanes, p.at.SyncedLanes())
		p.mu.Unlock()
	}
	return n
}

// Destinations implements compact.Destinations.
func (d destinations) Destinations(stream string) int {
	return len(d.streams.lookup(stream).sortedCursors())
}
