package wal

import "github.com/standpipe/standpipe/wal/internal/commit"

// Pin implements commit.Streams.
func (t *streamTable) Pin(name string) commit.Stream { return t.pin(name) }

// NewBytes implements commit.Streams.
func (t *streamTable) NewBytes(name string) int64 {
	s := t.lookup(name)
	switch {
	case s == nil:
		return streamPages(name)
	case s.stored.Load():
		return 0
	}
	return s.pagesOf()
}

// Needs implements commit.Streams. A stream without a destination keeps all events at or above its floor.
func (t *streamTable) Needs(stream string, run Run) bool {
	s := t.lookup(stream)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.cursors {
		p.mu.Lock()
		needed := p.at.Needed()
		p.mu.Unlock()
		if needed.Meets(run) {
			return true
		}
	}
	return len(s.cursors) == 0 && s.floor.Offset() < run.Next
}

// Name implements commit.Stream.
func (s *stream) Name() string { return s.name }

// End implements commit.Stream. It needs no lock: only the caller, which leads the commits, changes the end.
func (s *stream) End() (next, bytes uint64) { return s.next, s.bytes }

// Grow implements commit.Stream.
func (s *stream) Grow(next, bytes uint64) {
	s.mu.Lock()
	before := s.bytes
	s.next, s.bytes = next, bytes
	s.table.countLocked(s)
	s.mu.Unlock()
	s.table.flow.Add(bytes - before)
	s.grown.Wake()
}

// Unpin implements commit.Stream.
func (s *stream) Unpin() { s.table.unpin(s) }
