package wal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

func TestCursor_HasOneOwner(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir()})
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	if _, err := l.OpenCursor("s", "d"); !errors.Is(err, wal.ErrCursorOpen) {
		t.Errorf("got %v for a place that is open, want ErrCursorOpen", err)
	}
	_, err = l.OpenCursor("s", "other")
	must(t, err)
	p.Rest(true)
	if _, err := l.OpenCursor("s", "d"); !errors.Is(err, wal.ErrCursorOpen) {
		t.Errorf("got %v for a place that rests, want ErrCursorOpen", err)
	}
	p.Close()
	_, err = l.OpenCursor("s", "d")
	must(t, err)
}

// Settled events stay settled, in any order of settlements, even when a settlement covers fewer events than an earlier
// one.
func TestCursor_NeverSaysLessThanItSaid(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	const events = 60
	for range 20 {
		o := wal.Options{Dir: t.TempDir()}
		l := open(t, o)
		p, err := l.OpenCursor("s", "d")
		must(t, err)
		for range events {
			appendOne(t, l, "s", "k", "x")
		}
		lane, done := wal.LaneOf("k"), make(map[uint64]bool)
		for range 12 {
			m := someMark(r, events)
			must(t, p.Settle(wal.Settlement{Lanes: map[uint8]wal.Progress{lane: m}}))
			for offset := uint64(1); offset <= events; offset++ {
				done[offset] = done[offset] || m.Done(offset)
			}
			wantDone(t, p.Lanes()[lane], done)
		}
		must(t, l.Close())
		l = open(t, o)
		p, err = l.OpenCursor("s", "d")
		must(t, err)
		wantDone(t, p.Lanes()[lane], done)
	}
}

func someMark(r *rand.Rand, events uint64) wal.Progress {
	m := wal.Progress{Checkpoint: 1 + r.Uint64N(events/2)}
	for at := m.Checkpoint + 1; at < events; {
		run := wal.Run{First: at + r.Uint64N(10), Next: 0}
		run.Next = run.First + 1 + r.Uint64N(8)
		if at = run.Next + 1; run.Next <= events+1 && r.IntN(2) == 0 {
			m.Settled = append(m.Settled, run)
		}
	}
	return m
}

func wantDone(t *testing.T, m wal.Progress, done map[uint64]bool) {
	t.Helper()
	for offset, want := range done {
		if got := m.Done(offset); got != want {
			t.Fatalf("event %d: got settled %v, want %v, of %+v", offset, got, want, m)
		}
	}
	for i := 1; i < len(m.Settled); i++ {
		if m.Settled[i].First <= m.Settled[i-1].Next {
			t.Fatalf("got runs %v, want them apart and ascending", m.Settled)
		}
	}
}

func TestSettle_OfEventsMovesAMark(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir()})
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	a := appendOne(t, l, "s", "k", "x")
	appendOne(t, l, "s", "k", "x")
	one := wal.Count{Events: 1, Bytes: 1}
	for _, add := range []wal.Ledger{
		{Delivered: one}, {Dead: one}, {Dropped: map[string]wal.Count{wal.DroppedFull: one}}, {Dropped: map[string]wal.Count{wal.DroppedAge: one}},
	} {
		if err := p.Settle(wal.Settlement{Add: add}); !errors.Is(err, wal.ErrUnsettled) {
			t.Errorf("got %v for %+v without a mark, want ErrUnsettled", err, add)
		}
	}
	if got := p.Stat(); got.Pending.Events != 2 || got.Dead.Events+got.Delivered.Events+got.Dropped[wal.DroppedFull].Events > 0 {
		t.Errorf("got %+v, want 2 pending", got)
	}
	moved := wal.Settlement{Lanes: map[uint8]wal.Progress{wal.LaneOf("k"): {Checkpoint: a.First + 1}}, Add: wal.Ledger{Delivered: one}}
	must(t, p.Settle(moved))
	if err := p.Settle(moved); !errors.Is(err, wal.ErrUnsettled) {
		t.Errorf("got %v for the same again, want ErrUnsettled", err)
	}
	must(t, p.Settle(wal.Settlement{Add: wal.Ledger{Requests: 1}}))
	if got := p.Stat(); got.Pending.Events != 1 || got.Delivered.Events != 1 || got.Requests != 1 {
		t.Errorf("got %+v, want one delivered and one pending", got)
	}
}

// If a settlement counts more events than are pending, nothing is pending afterwards, and the count of pending events
// does not wrap around. The progress of the settlement is kept.
func TestSettle_NeverCountsMoreThanThereIs(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		o := wal.Options{Dir: t.TempDir()}
		l := open(t, o)
		p, err := l.OpenCursor("s", "d")
		must(t, err)
		events := 5 + r.Uint64N(10)
		for range events {
			appendOne(t, l, "s", "k", "12")
		}
		some := func() wal.Count { return wal.Count{Events: r.Uint64N(events), Bytes: r.Uint64N(2 * events)} }
		add := wal.Ledger{Delivered: some(), Dead: some(), Dropped: map[string]wal.Count{wal.DroppedFull: some(), wal.DroppedAge: some()}}
		add.Delivered.Events += events / 2
		counted := add.Delivered.Plus(add.Dead).Plus(add.Dropped[wal.DroppedFull]).Plus(add.Dropped[wal.DroppedAge])
		over := counted.Events > events || counted.Bytes > 2*events
		err = p.Settle(wal.Settlement{Lanes: map[uint8]wal.Progress{wal.LaneOf("k"): {Checkpoint: events + 1}}, Add: add, State: []byte("state")})
		if got := errors.Is(err, wal.ErrOvercounted); got != over {
			t.Errorf("got %v for %+v of %d events", err, add, events)
		}
		for range 2 {
			st := p.Stat()
			settled := st.Delivered.Plus(st.Dead).Plus(st.Dropped[wal.DroppedFull]).Plus(st.Dropped[wal.DroppedAge])
			want := wal.Count{Events: events - min(events, counted.Events), Bytes: 2*events - min(2*events, counted.Bytes)}
			if st.Pending != want || settled.Plus(st.Pending) != st.Appended {
				t.Errorf("got %+v after %+v, want %+v pending of %d events", st, add, want, events)
			}
			if got := p.Lanes()[wal.LaneOf("k")].Checkpoint; got != events+1 || string(p.State()) != "state" {
				t.Errorf("got checkpoint %d and state %q, want %d and \"state\"", got, p.State(), events+1)
			}
			must(t, l.Close())
			l = open(t, o)
			p, err = l.OpenCursor("s", "d")
			must(t, err)
		}
	}
}

// A destination is added at each step of a compaction. The events that it finds and the events that it counts as
// dropped add up to all appended events.
func TestCursor_OfASegmentThatIsRewritten(t *testing.T) {
	for _, step := range []string{"copied", "shrunk"} {
		t.Run(step, func(t *testing.T) {
			added, hooked := make(chan *wal.Cursor, 1), false
			var l *wal.Log
			o := wal.Options{Dir: t.TempDir(), SegmentSize: 256 << 10, MaxSize: 16 << 20}.Rewriting().WithCompactStep(func(now string) {
				if now != step || hooked {
					return
				}
				hooked = true
				made := make(chan struct{})
				go func() {
					p, err := l.OpenCursor("s", "late")
					if err != nil {
						t.Error(err)
					}
					added <- p
					close(made)
				}()
				if step == "copied" {
					<-made
					return
				}
				settledSoon(made)
			})
			l = open(t, o)
			p, err := l.OpenCursor("s", "d")
			must(t, err)
			s := &live{place: p, stuck: func(e *wal.Event) bool { return e.Lane < 8 }}
			for i := 0; l.Stat().Segments < 6; i++ {
				appendOne(t, l, "s", fmt.Sprint("k", i%50), strings.Repeat("x", 1000))
			}
			s.deliver(t, l)
			sync(t, l)
			late := <-added
			rewritten(t, l)
			s.check(t, l)
			there := wal.Count{}
			for _, e := range readAll(t, l, "s", 1, wal.AllLanes) {
				there.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
			}
			if got := late.Stat(); got.Pending != there || got.Appended.Events-got.Dropped[wal.DroppedAbsent].Events != there.Events {
				t.Errorf("got %+v for the destination that was added, want the %+v pending that it can read", got, there)
			}
		})
	}
}
