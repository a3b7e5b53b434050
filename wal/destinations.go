package wal

import "github.com/standpipe/standpipe/wal/internal/compact"

// destinations are the destinations of all streams, for the compactor.
type destinations struct{ streams *streamTable }

// Settled implements compact.Destinations.
func (d destinations) Settled() (settled, live uint64) {
	for _, s := range d.streams.sorted() {
		s.mu.Lock()
		most := Count{}
		for _, p := range s.cursors {
			p.mu.Lock()
			settled += compact.Weight(p.at.Ledger.Settled())
			if pending := p.pendingLocked(); compact.Weight(pending) > compact.Weight(most) {
				most = pending
			}
			p.mu.Unlock()
		}
		if len(s.cursors) == 0 {
			most = Count{Events: s.next - 1, Bytes: s.bytes}
		}
		live += compact.Weight(most)
		s.mu.Unlock()
	}
	return settled, live
}

// Needs implements compact.Destinations.
func (d destinations) Needs(stream string) *compact.Needs {
	s := d.streams.lookup(stream)
	n := &compact.Needs{Low: s.low()}
	for _, p := range s.sortedCursors() {
		p.mu.Lock()
		n.Lanes = append(n.Lanes, p.at.Synced)
		p.mu.Unlock()
	}
	return n
}

// Destinations implements compact.Destinations.
func (d destinations) Destinations(stream string) int {
	return len(d.streams.lookup(stream).sortedCursors())
}
