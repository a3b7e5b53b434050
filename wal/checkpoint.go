package wal

import (
	"github.com/standpipe/standpipe/wal/internal/commit"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// movedCursors are the cursors that moved since they were last written, for the committer.
type movedCursors struct{ *streamTable }

// Next implements commit.Cursors.
func (m movedCursors) Next() commit.Entry { return m.dirty.Pop().step() }

// End implements commit.Cursors.
func (m movedCursors) End() uint64 { return m.dirty.End() }

// Done implements commit.Cursors.
func (m movedCursors) Done(number uint64) bool { return m.dirty.Done(number) }

// Empty implements commit.Cursors.
func (m movedCursors) Empty() bool { return m.dirty.Empty() }

// cursorStep is the entry of a cursor in a commit, and the values that take effect with it.
type cursorStep struct {
	cursor *Cursor
	key    []byte
	value  []byte
	lanes  [Lanes]Progress
	needed Run // the destination needs no event outside of it
	state  []byte
}

// dirtyLocked makes the next checkpoint write the cursor, if it is part of the state.
func (p *Cursor) dirtyLocked() {
	if p.inState && !p.dirty {
		p.dirty = true
		p.log.streams.dirty.Push(p)
	}
}

// step encodes a dirty cursor, which is clean afterwards.
func (p *Cursor) step() *cursorStep {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dirty = false
	value := p.at.Append(nil)
	p.resizeLocked(len(value))
	return &cursorStep{
		cursor: p,
		key:    segment.StateKey(segment.StateCursor, p.stream.name, p.name),
		value:  value,
		lanes:  p.at.Lanes,
		needed: p.at.Needed(),
		state:  p.at.State,
	}
}

// Key implements commit.Entry.
func (s *cursorStep) Key() []byte { return s.key }

// Value implements commit.Entry.
func (s *cursorStep) Value() []byte { return s.value }

// Committed notes that the step is on disk.
func (s *cursorStep) Committed() {
	s.cursor.mu.Lock()
	s.cursor.at.Commit(s.lanes, s.needed)
	keeper := s.cursor.keeper
	s.cursor.mu.Unlock()
	if keeper != nil && s.state != nil {
		keeper(s.state)
	}
}

// Failed makes the next checkpoint write the cursor again.
func (s *cursorStep) Failed() {
	s.cursor.mu.Lock()
	s.cursor.dirtyLocked()
	s.cursor.mu.Unlock()
}

// enterStateLocked makes the cursor part of the log's state: its stream has an event, or the cursor has something to keep
// before that. It is called with the stream's mu and p.mu held, for a cursor of the stream. The caller schedules the
// checkpoint.
func (p *Cursor) enterStateLocked() {
	if p.inState {
		return
	}
	p.inState = true
	p.dirtyLocked()
	p.measureLocked()
}

// keepLocked makes the next checkpoint write the cursor, also before the first event of its stream. A cursor that Close has
// removed stays removed. It is called with the stream's mu and p.mu held.
func (p *Cursor) keepLocked() {
	if p.stream.cursors[p.name] == p {
		p.enterStateLocked()
	}
	p.dirtyLocked()
}

// leaveStream removes a closed cursor from its stream if it is not part of the log's state: an open cursor with that name
// would begin the same way. The stream is dropped with its last cursor.
func (p *Cursor) leaveStream() {
	s := p.stream
	s.mu.Lock()
	p.mu.Lock()
	leaves := !p.opened && !p.inState && s.cursors[p.name] == p
	p.mu.Unlock()
	if leaves {
		delete(s.cursors, p.name)
	}
	s.mu.Unlock()
	if leaves {
		s.table.dropUnused(s)
	}
}
