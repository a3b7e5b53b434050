package cursor

import (
	"slices"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Settlement is a step of a destination: the new progress of the lanes that moved, and an addition to the ledger. It
// takes effect as a whole, also on disk.
type Settlement struct {
	Lanes map[uint8]segment.Progress // Settle changes it, and does not keep it
	Add   segment.Ledger             // added to the ledger; LastDelivery replaces it unless zero
	State []byte                     // the destination's own state; nil: unchanged
}

// OnlyCounts reports whether the step settles no event: it counts requests that failed.
func (s *Settlement) OnlyCounts() bool {
	return len(s.Lanes) == 0 && s.State == nil && s.Add.Settled().Events == 0
}

// Position is a destination's position in a stream.
type Position struct {
	segment.CursorState

	// Lost is the known end of each lane's undelivered events: every settled event beyond it was delivered.
	Lost [segment.Lanes]uint64

	// The lanes on the disk, and the range of the offsets that the destination may need after a crash. Segments are
	// unlinked by these.
	Synced     [segment.Lanes]segment.Progress
	SyncedNeed segment.Run
}

// Stream is the part of a stream's state that a new Position depends on.
type Stream struct {
	Next  uint64 // the offset that the next event gets
	Bytes uint64 // of the payloads of all events before Next
	Base  uint64 // the number of offsets that lost events may have had
}

// New returns a position at the oldest event of the spans, which are those of the stream in the log's segments. The spans
// may include events that s.Next does not count yet, never fewer. They exclude the events in gaps. Events that the log
// does not hold count as dropped.
func New(s Stream, spans []segment.Span, gaps segment.Count) (p Position) {
	first, appended, held := s.Next, segment.Count{Events: s.Next - 1, Bytes: s.Bytes}, segment.Count{}
	for i, sp := range spans {
		if i == 0 {
			first = sp.First
		}
		held.Add(sp.Count())
		if sp.Next > s.Next {
			appended = segment.Count{Events: sp.Next - 1, Bytes: sp.After}
		}
	}
	absent := appended.Sub(held).Plus(gaps)
	missing := absent
	if lost := min(s.Base, absent.Events); lost > 0 {
		p.Ledger.Drop(bounds.DroppedCorrupt, segment.Count{Events: lost})
		absent.Events -= lost
	}
	if absent.Events > 0 {
		p.Ledger.Drop(bounds.DroppedAbsent, absent)
	}
	for i := range p.Lanes {
		p.Lanes[i].Checkpoint = first
		switch {
		case missing.Events > first-1: // an event beyond first is absent; it is unknown which
			p.Lost[i] = s.Next
		case missing.Events > 0:
			p.Lost[i] = first
		}
	}
	p.Synced, p.SyncedNeed = p.Lanes, segment.Run{First: first, Next: segment.NoEnd}
	return p
}

// Restore sets the position to its entry in the state.
func (p *Position) Restore(entry []byte) error {
	err := p.Decode(entry)
	p.Synced, p.SyncedNeed = p.Lanes, p.Needed()
	if p.Ledger.Lost().Events > 0 { // the state does not record which events these are
		for i := range p.Lanes {
			p.Lost[i] = p.Lanes[i].End()
		}
	}
	return err
}

// Keeps reports whether the position of a stream without events has something to keep for the destination: another new
// position would begin without it.
func (p *Position) Keeps() bool {
	return p.Parking.Next > 0 || !p.Paused.IsZero() || len(p.State) > 0 || p.Ledger.Requests > 0
}

// CloneLanes returns a copy of the lanes that shares no memory with the position.
func (p *Position) CloneLanes() [segment.Lanes]segment.Progress {
	lanes := p.Lanes
	for i := range lanes {
		lanes[i].Settled = slices.Clone(lanes[i].Settled)
	}
	return lanes
}

// Moved leaves in progress the lanes that it moves, each with its new progress, and returns it.
func (p *Position) Moved(progress map[uint8]segment.Progress) map[uint8]segment.Progress {
	for lane, m := range progress {
		if m = m.With(p.Lanes[lane]); m.Equal(p.Lanes[lane]) {
			delete(progress, lane)
		} else {
			progress[lane] = m
		}
	}
	return progress
}

// Move moves the lanes. lost reports that some events of the step were not delivered.
func (p *Position) Move(moved map[uint8]segment.Progress, lost bool) {
	for lane, m := range moved {
		p.Lanes[lane] = m
		if lost {
			p.Lost[lane] = max(p.Lost[lane], m.End())
		}
	}
}

// SettledBelow returns the lanes that have not settled all offsets below next, each with the progress once it has, and the
// first of these offsets.
func SettledBelow(lanes *[segment.Lanes]segment.Progress, next uint64) (moved map[uint8]segment.Progress, first uint64) {
	moved, first = make(map[uint8]segment.Progress), next
	for lane, m := range lanes {
		if m.Checkpoint < next {
			moved[uint8(lane)] = segment.Progress{Checkpoint: next, Settled: RunsFrom(m.Settled, next)}
			first = min(first, m.Checkpoint)
		}
	}
	return moved, first
}

// RunsFrom returns the parts of the runs at or beyond offset.
func RunsFrom(runs []segment.Run, offset uint64) (rest []segment.Run) {
	for _, r := range runs {
		if r.Next > offset {
			rest = append(rest, segment.Run{First: max(r.First, offset), Next: r.Next})
		}
	}
	return rest
}

// Lose records that the events of the runs were not delivered.
func (p *Position) Lose(runs []segment.Run) {
	for i := range p.Lost {
		for _, r := range runs {
			p.Lost[i] = max(p.Lost[i], r.Next)
		}
	}
}

// Pending returns the events that are not settled, of those that were appended.
func (p *Position) Pending(appended segment.Count) segment.Count {
	return p.Parking.Kept(appended).Beyond(p.Ledger.Settled())
}

// Add adds to the ledger, but never more events than are pending. over are the events that it did not add.
func (p *Position) Add(add *segment.Ledger, pending segment.Count) (over segment.Count) {
	counted := add.Settled()
	if over = counted.Beyond(pending); over != (segment.Count{}) {
		fits := add.Clone()
		leaveOut(&fits, over)
		add = &fits
	}
	p.Ledger.Add(add)
	return over
}

// leaveOut subtracts over from the settled counts.
func leaveOut(l *segment.Ledger, over segment.Count) {
	take := func(c segment.Count) segment.Count {
		left := c.Beyond(over)
		over = over.Beyond(c)
		return left
	}
	l.Delivered, l.Dead = take(l.Delivered), take(l.Dead)
	for reason, c := range l.Dropped {
		l.Dropped[reason] = take(c)
	}
}
