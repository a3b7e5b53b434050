package wal

import (
	"context"
	"fmt"
)

// awaited is a batch whose end a WaitSettled waits for.
type awaited struct {
	lanes [Lanes][]uint64 // the offsets of each lane's events, ascending
	lost  bool            // some of it was dead-lettered or dropped meanwhile; guarded by stream.mu
}

// WaitSettled waits until every destination that ships from the stream has settled the events of a,
// and at least until there is one. Lanes that hold none of these events don't matter. delivered is
// false when some of them were dead-lettered or dropped meanwhile, as far as can be told: what settles
// them together with others may have lost only the others.
//
// For a duplicate of which the old offset is forgotten it waits for all that the stream holds now.
func (l *Log) WaitSettled(ctx context.Context, stream string, a Appended) (delivered bool, err error) {
	s := l.lookup(stream)
	if s == nil {
		return false, fmt.Errorf("wal: no stream %q", stream)
	}
	if a.First == 0 {
		first := s.firstUnsettled()
		a = Appended{First: first, Count: int(s.appended().Events + 1 - first)}
	}
	w, err := l.await(s, Run{a.First, a.First + uint64(a.Count)})
	if err != nil {
		return false, err
	}
	s.watch(w)
	defer s.unwatch(w)
	for {
		moved := s.settled.wait()
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

// await finds the lanes of the events in the run. What the log no longer holds is settled.
func (l *Log) await(s *stream, run Run) (*awaited, error) {
	w := &awaited{}
	for from := run.First; from < run.Next; {
		seg, sp := l.find(s.name, from)
		if seg == nil || sp.first >= run.Next {
			break
		}
		part := Run{max(from, sp.first), min(run.Next, sp.next)}
		blocks := walk{log: l, seg: seg, stream: s.name, from: part.First, next: part.Next}
		blocks.visit = func(_ blockPlace, b block, fault string) (bool, error) {
			if fault != "" || b.framesFault() != "" {
				return false, nil // what it held is given up by whoever reads it
			}
			return false, w.collect(&b, part)
		}
		swaps := seg.swaps.Load()
		err := blocks.run()
		if seg.swaps.Load() != swaps {
			continue
		}
		if damaged(err) { // the same
			err = nil
		}
		if err != nil && err != errGone { //nolint:errorlint
			return nil, err
		}
		from = part.Next
	}
	return w, nil
}

// collect notes which lanes the events of a block are in.
func (w *awaited) collect(b *block, run Run) error {
	return b.each(func(lane uint8, offset uint64, _ []byte) error {
		if run.First <= offset && offset < run.Next {
			w.lanes[lane] = append(w.lanes[lane], offset)
		}
		return nil
	})
}

func (s *stream) watch(w *awaited) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.awaited == nil {
		s.awaited = make(map[*awaited]struct{})
	}
	s.awaited[w] = struct{}{}
}

func (s *stream) unwatch(w *awaited) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.awaited, w)
}

func (s *stream) lostAny(w *awaited) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return w.lost
}

// done tells whether every open place has settled w, and there is one.
func (s *stream) done(w *awaited) bool {
	open := false
	for _, p := range s.sortedPlaces() {
		p.mu.Lock()
		opened := p.opened
		done := opened && p.settledLocked(w)
		p.mu.Unlock()
		if opened && !done {
			return false
		}
		open = open || opened
	}
	return open
}

func (p *Place) settledLocked(w *awaited) bool {
	for lane := range p.marks {
		for _, offset := range w.lanes[lane] {
			if !p.marks[lane].Done(offset) {
				return false
			}
		}
	}
	return true
}

// firstUnsettled returns the first offset that some open place has not settled.
func (s *stream) firstUnsettled() uint64 {
	first := s.appended().Events + 1
	for _, p := range s.sortedPlaces() {
		p.mu.Lock()
		if p.opened {
			first = min(first, p.checkpointLocked())
		}
		p.mu.Unlock()
	}
	return first
}

// noteLost is called with s.mu and p.mu held before the marks move in a settlement that loses events.
func (s *stream) noteLostLocked(p *Place, marks map[uint8]Mark) {
	for w := range s.awaited {
		for lane, m := range marks {
			for _, offset := range w.lanes[lane] {
				if m.Done(offset) && !p.marks[lane].Done(offset) {
					w.lost = true
				}
			}
		}
	}
}
