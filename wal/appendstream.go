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

// Needed returns the first offset of the stream that some destination has not settled. A stream without a
// destination keeps all events at or above its floor.
func (t *streamTable) Needed(stream string) uint64 {
	s := t.lookup(stream)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cursors) == 0 {
		return s.floor.Offset()
	}
	return s.checkpointLocked()
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
