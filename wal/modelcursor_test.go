package wal_test

import (
	"context"
	"errors"
	"fmt"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// place adds a destination, or opens a parked one again.
func (m *model) place() {
	name := m.someStream()
	s, destination := m.stream(name), fmt.Sprint("d", m.rand.IntN(3))
	place, err := m.log.OpenCursor(name, destination)
	p := s.places[destination]
	if p != nil && !p.parked {
		if !errors.Is(err, wal.ErrCursorOpen) {
			m.t.Fatalf("got %v for a place that is open", err)
		}
		return
	}
	if err != nil {
		m.t.Fatal(err)
	}
	if p != nil {
		m.learnDropped(s, p) // until now, the log has dropped events for it
		p.parked, p.left = false, false
		return
	}
	p = &modelCursor{
		place: place, stuck: wal.LaneSet(m.rand.Uint64() & m.rand.Uint64()),
		done: make(map[uint64]bool), synced: make(map[uint64]bool), lost: make(map[uint64]bool), absent: make(map[uint64]bool),
	}
	s.places[destination] = p
	held := make(map[uint64]bool)
	for _, e := range readAll(m.t, m.log, name, 1, wal.AllLanes) {
		held[e.Offset] = true
	}
	for i := range s.events {
		if offset := uint64(i + 1); !held[offset] {
			p.lose(offset)
			p.absent[offset] = true
			p.missing.Add(countOf(&s.events[i]))
		}
	}
}

func countOf(e *wal.Event) wal.Count { return wal.Count{Events: 1, Bytes: uint64(len(e.Data))} }

func (m *model) someCursor() (*modelStream, *modelCursor) {
	s := m.stream(m.someStream())
	return s, s.places[fmt.Sprint("d", m.rand.IntN(3))]
}

// park ends the ownership of a cursor, which goes on to gather events.
func (m *model) park() {
	s, p := m.someCursor()
	if p == nil {
		return
	}
	p.place.Close()
	p.parked = true
	if name := p.place.Name(); len(s.events) == 0 && cursorNamed(m.log, p.place.Stream(), name) == nil {
		delete(s.places, name) // it would begin again in the same way
	}
}

// leave parks a destination that has left the configuration.
func (m *model) leave() {
	if _, p := m.someCursor(); p != nil {
		p.place.Park()
		p.parked, p.left = true, true
	}
}

// forget drops the events of a parked destination.
func (m *model) forget() {
	s, p := m.someCursor()
	if p == nil {
		return
	}
	synctest.Wait()
	if !p.left {
		if _, err := p.place.Forget(context.Background()); !errors.Is(err, wal.ErrNotParked) {
			m.t.Fatalf("got %v, want ErrNotParked", err)
		}
		return
	}
	m.drop()
	want := wal.Count{}
	for i := range s.events {
		if offset := uint64(i + 1); !p.done[offset] {
			p.lose(offset)
			want.Add(countOf(&s.events[i]))
		}
	}
	p.forgot.Add(want)
	if got, err := p.place.Forget(context.Background()); err != nil || got != want {
		m.t.Fatalf("%s: forgot %+v, %v, want %+v", p.place.Name(), got, err, want)
	}
	m.sync0()
}

// age lets time pass, so that some events become too old.
func (m *model) age() {
	time.Sleep(time.Duration(m.rand.IntN(90)) * time.Minute)
	synctest.Wait()
	m.drop()
}

// drop drops the events below each cursor's floor, as shippers do. For parked cursors it records the drops that the log
// has made.
func (m *model) drop() {
	for _, s := range inOrder(m.streams) {
		for _, p := range inOrder(s.places) {
			if p.parked {
				m.learnDropped(s, p)
				continue
			}
			floor, dropped := p.place.Floor(), make(map[string]wal.Count)
			for i := range s.events {
				if offset := uint64(i + 1); !p.done[offset] && offset < floor.Offset() {
					p.lose(offset)
					reason := floor.Reason(offset)
					dropped[reason] = dropped[reason].Plus(countOf(&s.events[i]))
				}
			}
			for _, c := range dropped {
				p.dropped.Add(c)
			}
			// A shipper also settles lanes that only move past a hole.
			if len(dropped) > 0 || p.place.Stat().Checkpoint < floor.Offset() {
				must(m.t, p.place.Settle(wal.Settlement{Lanes: p.marks(s), Add: wal.Ledger{Dropped: dropped}}))
			}
		}
	}
}

func (m *model) learnDropped(s *modelStream, p *modelCursor) {
	marks, floor := p.place.Lanes(), p.place.Floor()
	for i := range s.events {
		e, offset := &s.events[i], uint64(i+1)
		mark := marks[wal.LaneOf(e.Key)]
		if p.done[offset] || !mark.Done(offset) {
			continue
		}
		if offset >= floor.Offset() {
			m.t.Fatalf("%s: event %d is settled, and nobody has settled it", p.place.Name(), offset)
		}
		p.lose(offset)
		p.dropped.Add(countOf(e))
	}
}

// settle settles some events in some lanes of each cursor, sometimes ahead of the lane's checkpoint.
func (m *model) settle() {
	s := m.streams[m.someStream()]
	if s == nil || len(s.events) == 0 {
		return
	}
	for _, p := range inOrder(s.places) {
		upTo := 1 + m.rand.Uint64N(uint64(len(s.events)))
		switch {
		case p.parked:
		case m.rand.IntN(3) == 0:
			m.settleAt(s, p, func(e *wal.Event, _ uint64) bool { return m.rand.IntN(3) > 0 })
		case m.rand.IntN(2) == 0:
			m.settleAt(s, p, func(e *wal.Event, _ uint64) bool { return !p.stuck.Has(wal.LaneOf(e.Key)) })
		default:
			m.settleAt(s, p, func(_ *wal.Event, offset uint64) bool { return offset <= upTo })
		}
	}
}

func (m *model) settleAt(s *modelStream, p *modelCursor, pick func(e *wal.Event, offset uint64) bool) {
	var add wal.Ledger
	for i := range s.events {
		e, offset := &s.events[i], uint64(i+1)
		if p.done[offset] || !pick(e, offset) {
			continue
		}
		p.done[offset] = true
		c := countOf(e)
		if m.rand.IntN(20) == 0 {
			p.lost[offset] = true
			add.Dead.Add(c)
			continue
		}
		add.Delivered.Add(c)
	}
	must(m.t, p.place.Settle(wal.Settlement{Lanes: p.marks(s), Add: add}))
	p.settled.Delivered.Add(add.Delivered)
	p.settled.Dead.Add(add.Dead)
}

// marks returns the progress of each lane.
func (p *modelCursor) marks(s *modelStream) map[uint8]wal.Progress {
	marks := make(map[uint8]wal.Progress)
	for lane := range uint8(wal.Lanes) {
		marks[lane] = wal.Progress{Checkpoint: uint64(len(s.events)) + 1}
	}
	open := make(map[uint8]bool)
	for i := range s.events {
		offset := uint64(i + 1)
		lane := wal.LaneOf(s.events[i].Key)
		mark := marks[lane]
		switch {
		case p.done[offset] && open[lane]:
			mark.Settled = append(mark.Settled, wal.Run{First: offset, Next: offset + 1})
		case !p.done[offset] && !open[lane]:
			mark.Checkpoint, open[lane] = offset, true
		}
		marks[lane] = mark
	}
	return marks
}

func (m *model) sync() {
	synctest.Wait()
	m.drop() // the sync covers the drops of parked cursors too
	if err := m.log.Sync(context.Background()); err != nil {
		m.t.Fatal(err)
	}
	m.sync0()
}

func (m *model) waitSettled() {
	name := m.someStream()
	s := m.streams[name]
	if s == nil || len(s.events) == 0 || len(s.places) == 0 {
		return
	}
	synctest.Wait()
	m.drop()
	first := 1 + m.rand.Uint64N(uint64(len(s.events)))
	a := wal.Appended{First: first, Count: 1 + m.rand.IntN(min(5, len(s.events)-int(first)+1))}
	want, lost := false, false
	for _, p := range inOrder(s.places) {
		want = want || !p.parked
	}
	for _, p := range inOrder(s.places) {
		for offset := first; offset < first+uint64(a.Count) && !p.parked; offset++ {
			want = want && p.done[offset]
			lost = lost || p.lost[offset]
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	if !want {
		cancel()
	}
	defer cancel()
	delivered, err := m.log.WaitSettled(ctx, name, a)
	if got := err == nil; got != want || delivered && lost {
		m.t.Fatalf("wait for %+v of %s: got delivered %v, %v, want settled %v, lost %v", a, name, delivered, err, want, lost)
	}
}

func droppedByPolicy(st wal.CursorStat) wal.Count {
	return st.Dropped[wal.DroppedAge].Plus(st.Dropped[wal.DroppedFull])
}

func (m *model) settleRest() {
	synctest.Wait()
	m.drop()
	for name, s := range inOrder(m.streams) {
		for destination, p := range inOrder(s.places) {
			if p.left && m.rand.IntN(2) == 0 {
				_, err := p.place.Forget(context.Background())
				must(m.t, err)
				p.forgot = p.place.Stat().Dropped[wal.DroppedForgotten]
				for i := range s.events {
					p.lose(uint64(i + 1))
				}
				continue
			}
			if p.parked {
				_, err := m.log.OpenCursor(name, destination)
				must(m.t, err)
				m.learnDropped(s, p)
				p.parked, p.left = false, false
			}
			m.settleAt(s, p, func(*wal.Event, uint64) bool { return true })
		}
	}
	m.sync()
	placeless := 0
	for _, s := range inOrder(m.streams) {
		if len(s.places) == 0 && len(s.events) > 0 {
			placeless++
		}
	}
	// The newest segment may not have begun; the one before it then has the state.
	if got := m.log.Stat().Segments; placeless == 0 && got > 2 {
		m.t.Errorf("got %d segments when all is settled, want 1, or 2", got)
	}
}
