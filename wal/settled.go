package wal

import (
	"context"
	"fmt"

	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// awaited holds the events that a WaitSettled waits for.
type awaited struct {
	run   Run
	lanes [Lanes]awaitedLane
	gone  bool // the log no longer holds all of the run: every destination has settled the missing events
	lost  bool // an event of it was dead-lettered or dropped, or may have been; guarded by stream.mu
}

// awaitedLane holds the events of a lane. For a long run it keeps only the end, so that the memory of a wait does not
// grow with the number of events.
type awaitedLane struct {
	offsets []uint64 // ascending
	next    uint64   // the end of the last event, or an offset beyond it; 0: the lane has none
}

// awaitedMost is the longest run whose events are all kept.
const awaitedMost = 4096

// WaitSettled waits until every destination that ships from the stream has settled the events of a, and at least until
// there is such a destination. Lanes without these events do not count. The result delivered is false if some of the
// events were dead-lettered or dropped, or if that is unknown: a settlement that loses some events of a lane may have
// lost any event that it settled there.
//
// For a duplicate whose offset is no longer known it waits for all events that the stream holds now. For a batch of
// more than 4,096 events it waits for the checkpoints of the lanes, and so perhaps for older events of these lanes.
func (l *Log) WaitSettled(ctx context.Context, stream string, a Appended) (delivered bool, err error) {
	s := l.streams.lookup(stream)
	if s == nil {
		return false, fmt.Errorf("wal: no stream %q", stream)
	}
	w := &awaited{run: Run{First: a.First, Next: a.First + uint64(a.Count)}}
	if a.First == 0 {
		w.whole(s.appended().Events + 1)
	} else if err := w.find(l, s); err != nil {
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

// whole makes w wait for all events before next.
func (w *awaited) whole(next uint64) {
	w.run, w.gone = Run{First: 1, Next: next}, true
	for lane := range w.lanes {
		w.lanes[lane].next = next
	}
}

// find finds the lanes of the events. Events that the log no longer holds are settled.
func (w *awaited) find(l *Log, s *stream) error {
	for from := w.run.First; from < w.run.Next; {
		seg, sp := l.segments.find(s.name, from)
		if seg == nil || sp.First >= w.run.Next {
			w.gone = true
			break
		}
		w.gone = w.gone || sp.First > from || l.segments.gapped(seg)
		part := Run{First: max(from, sp.First), Next: min(w.run.Next, sp.Next)}
		replaced := seg.Replaced()
		err := seg.Walk(s.name, part.First, part.Next, func(_ segment.BlockPlace, b segment.Block, fault string) (bool, error) {
			return false, w.block(&b, part, fault)
		})
		if seg.Replaced() != replaced {
			continue
		}
		if segment.Damaged(err) { // the readers of the segment give up its events
			w.gone, err = true, nil
		}
		if err != nil && err != segfile.ErrGone { //nolint:errorlint
			return err
		}
		w.gone = w.gone || err != nil
		from = part.Next
	}
	return nil
}

// block adds the lanes of those events of a block that belong to the run.
func (w *awaited) block(b *segment.Block, run Run, fault string) error {
	run = Run{First: max(run.First, b.First), Next: min(run.Next, b.Next())}
	if fault == "" && w.run.Next-w.run.First > awaitedMost {
		for lane := range uint8(Lanes) {
			if b.Lanes.Has(lane) {
				w.lanes[lane].next = max(w.lanes[lane].next, run.Next)
			}
		}
		return nil
	}
	if fault != "" || b.FramesFault() != "" {
		w.gone = true // the readers of the block give up its events
		return nil
	}
	return b.Each(func(lane uint8, offset uint64, _ []byte) error {
		if run.First <= offset && offset < run.Next {
			l := &w.lanes[lane]
			if n := len(l.offsets); n == 0 || l.offsets[n-1] < offset {
				l.offsets = append(l.offsets, offset)
			}
			l.next = max(l.next, offset+1)
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
	for _, p := range s.cursors {
		p.mu.Lock()
		w.lost = w.lost || p.opened && p.lostOfLocked(w)
		p.mu.Unlock()
	}
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

// done reports whether at least one cursor is open, and every open cursor has settled w.
func (s *stream) done(w *awaited) bool {
	open := false
	for _, p := range s.sortedCursors() {
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

func (p *Cursor) settledLocked(w *awaited) bool {
	for lane := range p.at.Lanes {
		if !w.lanes[lane].done(&p.at.Lanes[lane]) {
			return false
		}
	}
	return true
}

func (l *awaitedLane) done(m *Progress) bool {
	if l.next <= m.Checkpoint {
		return true
	}
	for _, offset := range l.offsets {
		if !m.Done(offset) {
			return false
		}
	}
	return len(l.offsets) > 0
}

// lostOfLocked reports whether the cursor has settled events of w that were not delivered, or may not have been.
func (p *Cursor) lostOfLocked(w *awaited) bool {
	for lane := range w.lanes {
		l, lost := &w.lanes[lane], p.lost[lane]
		if w.gone && w.run.First < lost || l.passes(w, Progress{}, p.at.Lanes[lane], lost) {
			return true
		}
	}
	return false
}

// passes reports whether an event of the lane below limit is settled by the progress in to, and not by that in from.
func (l *awaitedLane) passes(w *awaited, from, to Progress, limit uint64) bool {
	if l.offsets == nil {
		first, next := max(w.run.First, from.Checkpoint), min(l.next, limit)
		return first < next && (to.End() > first)
	}
	for _, offset := range l.offsets {
		if offset >= limit {
			break
		}
		if to.Done(offset) && !from.Done(offset) {
			return true
		}
	}
	return false
}

// noteLostLocked marks the waits that lose an event by a settlement that moves p to marks. It is called with s.mu and
// p.mu held, before the lanes move.
func (s *stream) noteLostLocked(p *Cursor, marks map[uint8]Progress) {
	for w := range s.awaited {
		for lane, m := range marks {
			w.lost = w.lost || w.lanes[lane].passes(w, p.at.Lanes[lane], m, w.run.Next)
		}
	}
}
