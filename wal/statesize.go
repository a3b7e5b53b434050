package wal

import (
	"github.com/standpipe/standpipe/wal/internal/commit"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// streamPages returns the bytes that a stream takes of the state: its value has two numbers.
func streamPages(name string) int64 { return segment.StatePages(12, name) }

// resizeLocked counts the cursor's part of the state, of value bytes. It is called with p.mu held.
func (p *Cursor) resizeLocked(value int) {
	pages := segment.StatePages(value, p.stream.name, p.name)
	p.log.capacity.AddCursor(pages - p.pages)
	p.pages = pages
}

// measureLocked is resizeLocked for a cursor that is not being written. It is called with p.mu held.
func (p *Cursor) measureLocked() { p.resizeLocked(len(p.at.Append(nil))) }

// pagesOf returns the bytes that the stream and its cursors add to the state with the first event.
func (s *stream) pagesOf() (pages int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.cursors {
		p.mu.Lock()
		if !p.inState {
			pages += segment.StatePages(len(p.at.Append(nil)), s.name, p.name)
		}
		p.mu.Unlock()
	}
	return pages + streamPages(s.name)
}

// countLocked is called for each stream that has an event: from the first on, the stream and its cursors are part of the
// state. A cursor is part of it earlier if it has something to keep: a parking, a pause, or the destination's own state. The others
// would begin in the same way after a crash, so a rejected stream leaves nothing behind. s.mu is held.
func (t *streamTable) countLocked(s *stream) {
	if s.stored.Swap(true) {
		return
	}
	t.log.capacity.StateBytes.Add(streamPages(s.name))
	t.born.Wake()
	for _, p := range s.cursors {
		p.mu.Lock()
		p.enterStateLocked()
		p.mu.Unlock()
	}
	if len(s.cursors) > 0 {
		t.log.committer.Touch(commit.AtOnce) // without its entry, a destination that leaves the configuration is unknown
	}
}

// countState calculates the size of the state, after Open has read the log. The entries of the cursors are on the disk.
func (t *streamTable) countState() {
	t.log.capacity.ClearState()
	for _, s := range t.sorted() {
		s.mu.Lock()
		stored := s.stored.Load()
		if stored {
			t.log.capacity.StateBytes.Add(streamPages(s.name))
		}
		for name, p := range s.cursors {
			p.mu.Lock()
			if p.inState = stored || p.at.Keeps(); p.inState {
				p.measureLocked()
			} else { // an older release has stored each new cursor
				delete(s.cursors, name)
			}
			p.mu.Unlock()
		}
		s.mu.Unlock()
		t.dropUnused(s)
	}
	t.log.committer.Receipts().Count()
	t.log.committer.Producers().Count()
	t.log.committer.Producers().Trim(t.log.capacity.MostRuns())
}

// admitCursorLocked counts a new cursor, or returns the error that rejects it. It is called with the stream's mu held.
func (t *streamTable) admitCursorLocked(p *Cursor) error {
	if !p.stream.stored.Load() {
		return nil // its first event is rejected, if that has no room
	}
	before, most := t.log.capacity.StateBytes.Load(), t.log.capacity.MostCursors()
	p.measureLocked()
	if p.inState = before+p.pages <= most; p.inState {
		return nil
	}
	t.log.capacity.AddCursor(-p.pages)
	p.pages = 0
	rejected := &StateError{Stream: p.stream.name, Destination: p.name, Used: before, Max: most}
	t.log.capacity.NoteStateFull(rejected, before, most)
	return rejected
}
