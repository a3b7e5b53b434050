package wal

import (
	"github.com/standpipe/standpipe/wal/internal/commit"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// movedCursors are the cursors that moved since they were last written, for the committer.
type movedCursors struct{ *streamTable }

// Next implements commit.Cursors.
func (m movedCursors) Next() (e commit.Entry, ok bool) {
	step := m.dirty.Pop().step()
	return step, step != nil
}

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

// dirtyLocked makes the next checkpoint write the cursor.
func (p *Cursor) dirtyLocked() {
	if !p.dirty {
		p.dirty = true
		p.log.streams.dirty.Push(p)
	}
}

// step encodes a dirty cursor, which is clean afterwards. nil: the cursor is not part of the state.
func (p *Cursor) step() *cursorStep {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dirty = false; !p.inState {
		return nil
	}
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

// leaveState removes a closed cursor from the state until its stream has an event.
func (p *Cursor) leaveState() {
	p.stream.mu.Lock()
	defer p.stream.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.inState || p.opened || p.stream.stored.Load() {
		return
	}
	p.log.capacity.AddCursor(-p.pages)
	p.log.committer.Delete(unusedCursor{p}, p.pages)
	p.inState, p.pages = false, 0
}

// unusedCursor is a cursor whose entry the state does not need.
type unusedCursor struct{ *Cursor }

// Key implements commit.Deletable.
func (u unusedCursor) Key() []byte {
	return segment.StateKey(segment.StateCursor, u.stream.name, u.name)
}

// Wanted implements commit.Deletable.
func (u unusedCursor) Wanted() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.inState
}
