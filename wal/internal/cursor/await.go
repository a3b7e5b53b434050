package cursor

import "github.com/standpipe/standpipe/wal/internal/segment"

// Await holds the events of a batch until every destination has settled them.
type Await struct {
	Run  segment.Run
	Gone bool // the log no longer holds all of the run: every destination has settled the missing events
	Lost bool // an event of the run was dead-lettered or dropped, or may have been

	lanes [segment.Lanes]awaitedLane
}

// awaitedLane holds the events of a lane. For a long run it keeps only the end, so that the memory of a wait does not
// grow with the number of events.
type awaitedLane struct {
	offsets []uint64 // ascending
	next    uint64   // the end of the last event, or an offset beyond it; 0: the lane has none
}

// awaitedMost is the longest run whose events are all kept.
const awaitedMost = 4096

// All returns an Await of all events before next.
func All(next uint64) *Await {
	w := &Await{Run: segment.Run{First: 1, Next: next}, Gone: true}
	for lane := range w.lanes {
		w.lanes[lane].next = next
	}
	return w
}

// AddBlock adds the lanes of those events of a block that belong to the run.
func (w *Await) AddBlock(b *segment.Block, run segment.Run, fault string) error {
	run = segment.Run{First: max(run.First, b.First), Next: min(run.Next, b.Next())}
	if fault == "" && w.Run.Next-w.Run.First > awaitedMost {
		for lane := range uint8(segment.Lanes) {
			if b.Lanes.Has(lane) {
				w.lanes[lane].next = max(w.lanes[lane].next, run.Next)
			}
		}
		return nil
	}
	if fault != "" || b.FramesFault() != "" {
		w.Gone = true // the readers of the block give up its events
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

// SettledBy reports whether the destination has settled all events.
func (w *Await) SettledBy(p *Position) bool {
	for lane := range p.Lanes {
		if !w.lanes[lane].done(&p.Lanes[lane]) {
			return false
		}
	}
	return true
}

func (l *awaitedLane) done(m *segment.Progress) bool {
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

// LostBy reports whether the destination has settled events that were not delivered, or may not have been.
func (w *Await) LostBy(p *Position) bool {
	for lane := range w.lanes {
		l, lost := &w.lanes[lane], p.Lost[lane]
		if w.Gone && w.Run.First < lost || l.passes(w, segment.Progress{}, p.Lanes[lane], lost) {
			return true
		}
	}
	return false
}

// LostWith reports whether a step that moves the destination's lanes, and loses events, may lose one of these.
func (w *Await) LostWith(p *Position, moved map[uint8]segment.Progress) bool {
	for lane, m := range moved {
		if w.lanes[lane].passes(w, p.Lanes[lane], m, w.Run.Next) {
			return true
		}
	}
	return false
}

// passes reports whether an event of the lane below limit is settled by the progress in to, and not by that in from.
func (l *awaitedLane) passes(w *Await, from, to segment.Progress, limit uint64) bool {
	if l.offsets == nil {
		first, next := max(w.Run.First, from.Checkpoint), min(l.next, limit)
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
