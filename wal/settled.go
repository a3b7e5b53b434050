package wal

import (
	"context"
	"fmt"

	"github.com/standpipe/standpipe/wal/internal/cursor"
)

// WaitSettled waits until every destination that ships from the stream has settled the events of a, and at least until
// there is such a destination. Lanes without these events do not count. The result delivered is false if some of the
// events were dead-lettered or dropped, or if that is unknown: a settlement that loses some events of a lane may have
// lost any event that it settled there.
//
// For a duplicate whose offset is unknown it waits for all events that the stream holds now. For a batch of
// more than 4,096 events it waits for the checkpoints of the lanes, and so perhaps for older events of these lanes.
func (l *Log) WaitSettled(ctx context.Context, stream string, a Appended) (delivered bool, err error) {
	s := l.streams.lookup(stream)
	if s == nil {
		return false, fmt.Errorf("wal: no stream %q", stream)
	}
	var w *cursor.Await
	if a.First == 0 {
		w = cursor.All(s.appended().Events + 1)
	} else if w, err = l.reader.Await(s.name, Run{First: a.First, Next: a.First + uint64(a.Count)}); err != nil {
		return false, err
	}
	s.watch(w)
	defer s.unwatch(w)
	for {
		moved := s.settled.Wait()
		if done := s.done(w); done {
			return !s.lostAny(w), nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return false, ctx.Err()
		case <-l.closing:
			return false, ErrClosed
		}
	}
}

func (s *stream) watch(w *cursor.Await) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.awaited == nil {
		s.awaited = make(map[*cursor.Await]struct{})
	}
	s.awaited[w] = struct{}{}
	for _, p := range s.cursors {
		p.mu.Lock()
		w.Lost = w.Lost || p.opened && w.LostBy(&p.at)
		p.mu.Unlock()
	}
}

func (s *stream) unwatch(w *cursor.Await) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.awaited, w)
}

func (s *stream) lostAny(w *cursor.Await) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return w.Lost
}

// done reports whether at least one cursor is open, and every open cursor has settled w.
func (s *stream) done(w *cursor.Await) bool {
	open := false
	for _, p := range s.sortedCursors() {
		p.mu.Lock()
		opened := p.opened
		done := opened && w.SettledBy(&p.at)
		p.mu.Unlock()
		if opened && !done {
			return false
		}
		open = open || opened
	}
	return open
}

// noteLostLocked marks the waits that lose an event by a settlement that moves lanes of p. It is called with s.mu and
// p.mu held, before the lanes move.
func (s *stream) noteLostLocked(p *Cursor, moved map[uint8]Progress) {
	for w := range s.awaited {
		w.Lost = w.Lost || w.LostWith(&p.at, moved)
	}
}
