package cursor_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/cursor"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// seeded returns a random source whose seed the test logs.
func seeded(t *testing.T) *rand.Rand {
	seed := draw.Seed(t)
	return rand.New(rand.NewPCG(seed, 1))
}

// For any step: the ledger never counts more than was appended, and over is the rest of the step.
func TestAdd_CountsOnlyPendingEvents(t *testing.T) {
	r := seeded(t)
	count := func() segment.Count { return segment.Count{Events: r.Uint64N(5), Bytes: r.Uint64N(50)} }
	for range 1000 {
		var p cursor.Position
		appended := segment.Count{}
		for range 10 {
			appended.Add(count())
			add := segment.Ledger{Delivered: count(), Dead: count(), Requests: 1}
			add.Drop(bounds.DroppedFull, count())
			add.Drop(bounds.DroppedAge, count())
			step, before := add.Settled(), p.Ledger.Settled()
			pending := p.Pending(appended)
			over := p.Add(&add, pending)
			after := p.Ledger.Settled()
			if over != step.Beyond(pending) || after.Sub(before).Plus(over) != step {
				t.Fatalf("got %+v over with %+v pending and a step of %+v from %+v to %+v", over, pending, step, before, after)
			}
			if (after.Beyond(appended) != segment.Count{}) {
				t.Fatalf("got %+v settled of %+v", after, appended)
			}
			if add.Settled() != step {
				t.Fatal("the step has changed")
			}
		}
	}
}

// A new position counts the events that the log does not hold as dropped, and starts at the oldest event.
func TestNew_CountsAbsentEvents(t *testing.T) {
	span := func(first, next, bytes uint64) segment.Span {
		return segment.Span{First: first, Next: next, After: bytes}
	}
	for _, test := range []struct {
		name            string
		stream          cursor.Stream
		spans           []segment.Span
		gaps            segment.Count
		checkpoint      uint64
		corrupt, absent uint64
		lost            uint64
	}{
		{"all held", cursor.Stream{Next: 21, Bytes: 200}, []segment.Span{span(1, 21, 200)}, segment.Count{}, 1, 0, 0, 0},
		{"a stream without events", cursor.Stream{Next: 1}, nil, segment.Count{}, 1, 0, 0, 0},
		{"the first unlinked", cursor.Stream{Next: 21, Bytes: 200}, []segment.Span{span(11, 21, 200)}, segment.Count{}, 11, 0, 10, 11},
		{"all unlinked", cursor.Stream{Next: 21, Bytes: 200}, nil, segment.Count{}, 21, 0, 20, 21},
		{"lost before the first", cursor.Stream{Next: 21, Bytes: 100, Base: 10}, []segment.Span{span(11, 21, 100)}, segment.Count{}, 11, 10, 0, 11},
		{"a gap", cursor.Stream{Next: 21, Bytes: 200}, []segment.Span{span(1, 21, 200)}, segment.Count{Events: 3, Bytes: 30}, 1, 0, 3, 21},
	} {
		p := cursor.New(test.stream, test.spans, test.gaps)
		corrupt, absent := p.Ledger.Dropped[bounds.DroppedCorrupt].Events, p.Ledger.Dropped[bounds.DroppedAbsent].Events
		if p.Checkpoint() != test.checkpoint || p.SyncedNeed.First != test.checkpoint || corrupt != test.corrupt || absent != test.absent || p.Lost[7] != test.lost {
			t.Errorf("%s: got checkpoint %d, %d corrupt, %d absent, lost up to %d", test.name, p.Checkpoint(), corrupt, absent, p.Lost[7])
		}
	}
}

func TestRestore_ReturnsAPositionAsItWasEncoded(t *testing.T) {
	p := cursor.New(cursor.Stream{Next: 21, Bytes: 200}, nil, segment.Count{})
	p.Move(p.Moved(map[uint8]segment.Progress{3: {Checkpoint: 30, Settled: []segment.Run{{First: 40, Next: 50}}}, 4: {Checkpoint: 5}}), true)
	var q cursor.Position
	if err := q.Restore(p.Append(nil)); err != nil {
		t.Fatal(err)
	}
	for lane := range p.Lanes {
		if !q.Lanes[lane].Equal(p.Lanes[lane]) || !q.Synced[lane].Equal(p.Lanes[lane]) {
			t.Errorf("lane %d: got %+v, synced %+v, want %+v", lane, q.Lanes[lane], q.Synced[lane], p.Lanes[lane])
		}
	}
	if q.Lanes[4].Checkpoint != 21 || q.SyncedNeed.First != 21 || q.Lost[3] != 50 || q.Lost[5] != 21 {
		t.Errorf("got lane 4 at %d, low %d, lost %d and %d", q.Lanes[4].Checkpoint, q.SyncedNeed.First, q.Lost[3], q.Lost[5])
	}
	lanes := q.CloneLanes()
	if lanes[3].Settled[0].First = 1; q.Lanes[3].Settled[0].First != 40 {
		t.Error("a copy of the lanes shares their memory")
	}
}

// The entry of a parked and paused position has all of its fields, and the entry of another has the version that older
// releases read.
func TestRestore_ReturnsAParkedPosition(t *testing.T) {
	p := cursor.New(cursor.Stream{Next: 21, Bytes: 200}, []segment.Span{{First: 1, Next: 21, After: 200}}, segment.Count{})
	if entry := p.Append(nil); entry[0] != 1 {
		t.Errorf("got version %d, want 1", entry[0])
	}
	p.Park(segment.Count{Events: 20, Bytes: 200}, time.Unix(0, 7))
	p.Paused, p.Parking.Forgotten = time.Unix(0, 8), true
	var q cursor.Position
	entry := p.Append(nil)
	if err := q.Restore(entry); err != nil || entry[0] != 2 {
		t.Fatalf("got version %d, %v, want 2", entry[0], err)
	}
	if q.Parking != p.Parking || q.Paused != p.Paused || q.SyncedNeed != (segment.Run{First: 1, Next: 21}) {
		t.Errorf("got %+v paused %s needs %+v, want %+v paused %s", q.Parking, q.Paused, q.SyncedNeed, p.Parking, p.Paused)
	}
}

// For random steps: a parked position owes the events that it had, and a position that has returned owes those that are
// appended after that. The needed range on the disk always includes the owed events.
func TestPark_OwesWhatItHad(t *testing.T) {
	r := seeded(t)
	for range 300 {
		p := cursor.New(cursor.Stream{Next: 1}, nil, segment.Count{})
		appended, owed, parked, step := segment.Count{}, map[uint64]bool{}, false, p.CursorState
		for range 20 {
			switch r.IntN(5) {
			case 0, 1:
				for range r.IntN(4) {
					appended.Add(segment.Count{Events: 1, Bytes: 3})
					if !parked {
						owed[appended.Events] = true
					}
				}
			case 2:
				p.Commit(p.Lanes, p.Needed()) // an earlier return is on the disk
				p.Park(appended, time.Unix(1, 0))
				step, parked = p.CursorState, true
			case 3:
				p.Return(appended)
				parked = false
			case 4:
				to := 1 + r.Uint64N(appended.Events+1)
				steps, add := map[uint8]segment.Progress{}, segment.Ledger{}
				if parked {
					to = min(to, p.Parking.Next)
				}
				for offset := range owed {
					if offset < to {
						add.Delivered.Add(segment.Count{Events: 1, Bytes: 3})
						delete(owed, offset)
					}
				}
				for lane := range uint8(segment.Lanes) {
					steps[lane] = segment.Progress{Checkpoint: to}
				}
				p.Move(p.Moved(steps), false)
				if over := p.Add(&add, p.Pending(appended)); over != (segment.Count{}) {
					t.Fatalf("counted %+v too many", over)
				}
			}
			if r.IntN(2) == 0 { // a checkpoint is on the disk
				p.Commit(step.Lanes, step.Needed())
			}
			if r.IntN(2) == 0 { // and another is collected
				step = p.CursorState
			}
			if got := p.Pending(appended); got.Events != uint64(len(owed)) || got.Bytes != 3*got.Events {
				t.Fatalf("got %+v pending, want %d", got, len(owed))
			}
			synced := p.SyncedLanes()
			for offset := range owed {
				one := segment.Run{First: offset, Next: offset + 1}
				if !p.Needed().Meets(one) || !p.SyncedNeed.Meets(one) || p.Lanes[0].Done(offset) || synced[0].Done(offset) {
					t.Fatalf("event %d is owed, and not needed: %+v, on the disk %+v", offset, p.Needed(), p.SyncedNeed)
				}
			}
		}
	}
}

// For random lanes and steps: an Await of a short run knows each of its events.
func TestAwait_KnowsEachEvent(t *testing.T) {
	r := seeded(t)
	for range 300 {
		const events = 40
		run := segment.Run{First: 1 + r.Uint64N(events/2), Next: events/2 + 1 + r.Uint64N(events/2)}
		w := &cursor.Await{Run: run}
		frames, lanes := []byte(nil), make([]uint8, events+1)
		var set segment.LaneSet
		for offset := 1; offset <= events; offset++ {
			lanes[offset] = uint8(r.IntN(3))
			set = set.With(lanes[offset])
			frames = segment.AppendFrame(frames, &segment.Event{Data: []byte("x")}, lanes[offset])
		}
		b := block(t, frames, events, set)
		if err := w.AddBlock(b, run, ""); err != nil || w.Gone {
			t.Fatalf("got %v, gone %v", err, w.Gone)
		}
		var p cursor.Position
		settled, lost := make([]bool, events+1), make([]bool, events+1)
		for range 20 {
			lane, to, loses := uint8(r.IntN(3)), 1+r.Uint64N(events+1), r.IntN(8) == 0
			moved := p.Moved(map[uint8]segment.Progress{lane: {Checkpoint: to}})
			mayLose := loses && w.LostWith(&p, moved)
			p.Move(moved, loses)
			wantLost := false
			for offset := uint64(1); offset < min(to, events+1); offset++ {
				if lanes[offset] == lane && !settled[offset] {
					settled[offset], lost[offset] = true, loses
					wantLost = wantLost || loses && run.First <= offset && offset < run.Next
				}
			}
			if mayLose != wantLost {
				t.Fatalf("got a loss %v, want %v", mayLose, wantLost)
			}
			all, some := true, false
			for offset := run.First; offset < run.Next; offset++ {
				all, some = all && settled[offset], some || lost[offset]
			}
			if got := w.SettledBy(&p); got != all {
				t.Fatalf("got settled %v, want %v", got, all)
			}
			if some && !w.LostBy(&p) {
				t.Fatal("a lost event does not count as lost")
			}
		}
	}
}

// block returns a block of a stream's first events.
func block(t *testing.T, frames []byte, events uint32, lanes segment.LaneSet) *segment.Block {
	t.Helper()
	value := segment.AppendBlockHeader(nil, &segment.Block{Number: 1, Stream: "s", First: 1, Count: events, Lanes: lanes})
	value = append(value, frames...)
	segment.SumFrames(value)
	segment.SealBlock(value, 1, 1)
	b, fault := segment.ParseBlock(1, segment.NumberKey(1), value)
	if fault != "" {
		t.Fatal(fault)
	}
	return &b
}

// An Await of all events compares the ends of the lanes.
func TestAwait_OfAllEvents(t *testing.T) {
	w := cursor.All(11)
	p := cursor.New(cursor.Stream{Next: 1}, nil, segment.Count{})
	steps := make(map[uint8]segment.Progress)
	for lane := range uint8(segment.Lanes) {
		if w.SettledBy(&p) {
			t.Fatalf("settled with %d lanes at the end", lane)
		}
		steps[lane] = segment.Progress{Checkpoint: 11}
		p.Move(p.Moved(steps), false)
	}
	if !w.SettledBy(&p) || w.LostBy(&p) {
		t.Errorf("got settled %v, lost %v", w.SettledBy(&p), w.LostBy(&p))
	}
	if p.Lose([]segment.Run{{First: 4, Next: 5}}); !w.LostBy(&p) {
		t.Error("a lost event does not count as lost")
	}
}

// A shipper settles all lanes after each batch, and each of many streams has a shipper.
func TestMoved_AllocatesNothing(t *testing.T) {
	p, steps, next := cursor.New(cursor.Stream{Next: 1}, nil, segment.Count{}), make(map[uint8]segment.Progress), uint64(1)
	got := testing.AllocsPerRun(100, func() {
		clear(steps)
		next++
		for lane := range uint8(segment.Lanes) {
			steps[lane] = segment.Progress{Checkpoint: next - uint64(lane%2)}
		}
		p.Move(p.Moved(steps), false)
	})
	if got > 0 {
		t.Errorf("got %v allocations for a step of all lanes, want none", got)
	}
	if len(steps) != segment.Lanes || p.Lanes[0].Checkpoint != next || p.Lanes[1].Checkpoint != next-1 {
		t.Errorf("got %d moved lanes, at %d and %d, want %d at %d and %d", len(steps), p.Lanes[0].Checkpoint, p.Lanes[1].Checkpoint, segment.Lanes, next, next-1)
	}
	if again := p.Moved(steps); len(again) > 0 {
		t.Errorf("the same step again moves %d lanes, want none", len(again))
	}
}
