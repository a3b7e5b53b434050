package wal_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
)

// rewritten returns when all segments that are worth it have been compacted.
func rewritten(t testing.TB, l *wal.Log) {
	t.Helper()
	for _, s := range l.Streams() {
		for _, p := range l.Cursors(s.Name) {
			p.Settle(wal.Settlement{Add: wal.Ledger{Requests: 1}})
		}
	}
	sync(t, l)
	ended(t, l) // a compaction that began before the settlements: Sync starts no other beside it
	l.Compact()
	ended(t, l)
	sync(t, l) // until segments that are gone are no longer counted
}

// ended returns when the compaction that is running has ended.
func ended(t testing.TB, l *wal.Log) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); l.Rewriting(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the rewriting does not end")
		}
	}
}

// live tracks the events that a stream's destination has not settled. stuck selects events that it never settles.
type live struct {
	place *wal.Cursor
	stuck func(e *wal.Event) bool
	kept  map[uint64]string // by offset
	bytes int               // of the payloads
	first uint64            // first offset that deliver has not read yet
}

// deliver settles all events that are not stuck.
func (s *live) deliver(t testing.TB, l *wal.Log) {
	t.Helper()
	if s.kept == nil {
		s.kept, s.first = make(map[uint64]string), 1
	}
	next := l.Next(s.place.Stream())
	marks, delivered := make(map[uint8]wal.Progress), wal.Count{}
	for lane, m := range s.place.Lanes() {
		if m.Checkpoint >= s.first { // not stuck so far
			marks[uint8(lane)] = wal.Progress{Checkpoint: next}
		}
	}
	for _, e := range readAll(t, l, s.place.Stream(), s.first, wal.AllLanes) {
		if !s.stuck(&e) {
			delivered.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
			continue
		}
		s.kept[e.Offset] = string(e.Data)
		s.bytes += len(e.Data)
		if m, ok := marks[e.Lane]; ok {
			marks[e.Lane] = wal.Progress{Checkpoint: min(m.Checkpoint, e.Offset)}
		}
	}
	s.first = next
	s.place.Settle(wal.Settlement{Lanes: marks, Add: wal.Ledger{Delivered: delivered}})
}

// check checks that every stuck event is still there and unchanged.
func (s *live) check(t testing.TB, l *wal.Log) {
	t.Helper()
	got := make(map[uint64]string)
	for _, e := range readAll(t, l, s.place.Stream(), 1, wal.AllLanes) {
		if s.stuck(&e) {
			got[e.Offset] = string(e.Data)
		}
	}
	if !maps.Equal(got, s.kept) {
		t.Errorf("%s: got %d stuck events, want %d", s.place.Stream(), len(got), len(s.kept))
	}
	if st := l.Cursors(s.place.Stream())[0].Stat(); st.Pending != (wal.Count{Events: uint64(len(s.kept)), Bytes: uint64(s.bytes)}) {
		t.Errorf("%s: got %+v, want %d events pending", s.place.Stream(), st, len(s.kept))
	}
}

func expectInUse(t testing.TB, l *wal.Log, o wal.Options, liveBytes int) {
	t.Helper()
	st := l.Stat()
	limit := float64(liveBytes)*1.3 + 2*float64(o.SegmentSize)
	t.Logf("%d bytes of live events, %d in use by %d segments: %.2f times and two segments", liveBytes, st.Bytes, st.Segments,
		float64(st.Bytes-2*o.SegmentSize)/float64(max(liveBytes, 1)))
	if float64(st.Bytes) > limit {
		t.Errorf("got %d bytes in use, want at most %.0f", st.Bytes, limit)
	}
}

// stuckTest appends to ten streams in which some events are stuck, and checks that the log uses no more disk space than
// the bound. Then everything is delivered.
func stuckTest(t *testing.T, size int, stuck func(stream int, e *wal.Event) bool) {
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 2 << 20, MaxSize: 64 << 20}.Rewriting()
	l := open(t, o)
	var streams []*live
	for i := range 10 {
		p, err := l.OpenCursor(fmt.Sprint("s", i), "d")
		must(t, err)
		streams = append(streams, &live{place: p, stuck: func(e *wal.Event) bool { return stuck(i, e) }})
	}
	r := rand.New(rand.NewPCG(1, 2))
	sum := func() (bytes int) {
		for _, s := range streams {
			bytes += s.bytes + 32*len(s.kept)
		}
		return bytes
	}
	data := make([]byte, size)
	for round := range 18 {
		for range 1 << 20 / size / 50 {
			b := &wal.Batch{Stream: fmt.Sprint("s", r.IntN(10))}
			for range 50 {
				for i := range data {
					data[i] = 'a' + byte(r.IntN(26))
				}
				b.Events = append(b.Events, event(fmt.Sprint("k", r.IntN(1000)), string(data)))
			}
			if _, err := l.Append(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range streams {
			s.deliver(t, l)
		}
		if round%6 == 5 {
			rewritten(t, l)
			expectInUse(t, l, o, sum())
		}
	}
	for range 2 {
		for _, s := range streams {
			s.check(t, l)
		}
		must(t, l.Close())
		expectSound(t, o.Dir)
		if left, _ := filepath.Glob(filepath.Join(o.Dir, "wal", "*.new")); len(left) > 0 {
			t.Errorf("got %v left", left)
		}
		l = open(t, o)
		for i, s := range streams {
			var err error
			s.place, err = l.OpenCursor(fmt.Sprint("s", i), "d")
			must(t, err)
		}
	}
	late, err := l.OpenCursor("s0", "late")
	must(t, err)
	if st := late.Stat(); st.Pending.Events != uint64(len(readAll(t, l, "s0", 1, wal.AllLanes))) || st.Dropped[wal.DroppedAbsent].Events == 0 {
		t.Errorf("got %+v for a new destination", st)
	}
	settleAll(l, late, late.Stat().Pending)
	for _, s := range streams {
		settleAll(l, s.place, s.place.Stat().Pending)
	}
	sync(t, l)
	if got := l.Stat().Segments; got > 2 {
		t.Errorf("got %d segments when all is delivered, want at most 2", got)
	}
}

// expectSound verifies the log.
func expectSound(t testing.TB, dir string) {
	t.Helper()
	report, err := inspect.Verify(bg, dir, nil)
	if err != nil || len(report.Damage) > 0 {
		t.Errorf("verify: %v, %v", err, report.Damage)
	}
	held := wal.Count{}
	for _, s := range inspectLog(t, dir).Segments {
		for _, stream := range s.Streams {
			held.Add(stream.Held)
			if stream.Live > stream.Held.Events {
				t.Errorf("got %+v of %s, want at most all live", stream, s.Name)
			}
		}
	}
	if held != report.Events {
		t.Errorf("got %+v held by an inspection, want the %+v that are read", held, report.Events)
	}
}

func TestCompaction_StuckStreamHoldsItsOwnEventsOnly(t *testing.T) {
	for _, size := range []int{1024, 200, 5000} {
		if testing.Short() && size != 1024 {
			continue
		}
		t.Run(fmt.Sprint("size=", size), func(t *testing.T) {
			stuckTest(t, size, func(stream int, _ *wal.Event) bool { return stream == 3 })
		})
	}
}

func TestCompaction_StuckLaneHoldsItsOwnEventsOnly(t *testing.T) {
	for _, lanes := range [][]uint8{{7}, {1, 9, 17, 25, 33, 41, 49, 57}} {
		for _, size := range []int{1024, 200} {
			if testing.Short() && size != 1024 {
				continue
			}
			t.Run(fmt.Sprintf("lanes=%d/size=%d", len(lanes), size), func(t *testing.T) {
				stuckTest(t, size, func(_ int, e *wal.Event) bool { return slices.Contains(lanes, e.Lane) })
			})
		}
	}
}

// A log that is full of events that nearly all lanes have settled frees space by itself.
func TestCompaction_FullLogOfSettledEventsMakesRoom(t *testing.T) {
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 2 << 20, MaxSize: 32 << 20}
	l := open(t, o)
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	s := &live{place: p, stuck: func(e *wal.Event) bool { return e.Lane < 4 }}
	for i := 0; !l.Full(); i++ {
		_, _ = l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event(fmt.Sprint("k", i), string(make([]byte, 20_000)))}})
	}
	s.deliver(t, l)
	rewritten(t, l)
	expectInUse(t, l, o, s.bytes+32*len(s.kept))
	s.check(t, l)
	if _, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: slices.Repeat([]wal.Event{event("k", string(make([]byte, 2000)))}, 1000)}); err != nil {
		t.Error(err)
	}
}
