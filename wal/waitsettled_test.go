package wal_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// settleTo settles all events below next and adds add to the ledger.
func settleTo(t testing.TB, p *wal.Cursor, next uint64, add wal.Ledger) {
	t.Helper()
	marks := make(map[uint8]wal.Progress)
	for lane := range uint8(wal.Lanes) {
		marks[lane] = wal.Progress{Checkpoint: next}
	}
	must(t, p.Settle(wal.Settlement{Lanes: marks, Add: add}))
}

func delivered(n uint64) wal.Ledger { return wal.Ledger{Delivered: wal.Count{Events: n, Bytes: n}} }

func droppedOf(n uint64) wal.Ledger {
	return wal.Ledger{Dropped: map[string]wal.Count{wal.DroppedFull: {Events: n, Bytes: n}}}
}

func wantSettled(t testing.TB, l *wal.Log, a wal.Appended, want bool) {
	t.Helper()
	if got, err := l.WaitSettled(bg, "s", a); err != nil || got != want {
		t.Errorf("%+v: got delivered %v, %v, want %v", a, got, err, want)
	}
}

func wantUnsettled(t testing.TB, l *wal.Log, a wal.Appended) {
	t.Helper()
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := l.WaitSettled(ctx, "s", a); err == nil {
		t.Errorf("%+v: got settled, want it to wait", a)
	}
}

// WaitSettled reports whether an event was delivered, even if it was settled before the call, and after a restart.
func TestWaitSettled_OfWhatWasDroppedBefore(t *testing.T) {
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10}
	l := open(t, o)
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	var all []wal.Appended
	for i := range 30 {
		all = append(all, appendOne(t, l, "s", fmt.Sprint("k", i), "x"))
	}
	settleTo(t, p, 11, delivered(10))
	wantSettled(t, l, all[4], true)
	settleTo(t, p, 21, droppedOf(10))
	wantSettled(t, l, all[14], false)
	settleTo(t, p, 31, delivered(10))
	wantSettled(t, l, all[24], true)
	wantSettled(t, l, all[14], false)
	must(t, l.Close())
	l = open(t, o)
	_, err = l.OpenCursor("s", "d")
	must(t, err)
	wantSettled(t, l, all[14], false)
	wantSettled(t, l, wal.Appended{Count: 1, Duplicate: true}, false)
}

// Events that were settled and truncated long ago count as delivered if their stream never lost an event.
func TestWaitSettled_OfWhatTheLogNoLongerHolds(t *testing.T) {
	for _, lost := range []bool{false, true} {
		l := open(t, wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10})
		p := appendUntil(t, l, 5)
		old := wal.Appended{First: 2, Count: 1, Duplicate: true}
		add := wal.Ledger{Delivered: p.Stat().Pending}
		if lost {
			add = wal.Ledger{Dead: p.Stat().Pending}
		}
		settleTo(t, p, l.Next("s"), add)
		sync(t, l)
		if got := readAll(t, l, "s", 1, wal.AllLanes); len(got) > 0 && got[0].Offset <= old.First {
			t.Fatal("the event is still there; nothing is tested")
		}
		wantSettled(t, l, old, !lost)
		wantSettled(t, l, wal.Appended{Count: 1, Duplicate: true}, !lost)
	}
}

// A destination that is added during a wait counts too, with the events that it missed.
func TestWaitSettled_OfADestinationThatComesLate(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10})
	p := appendUntil(t, l, 5)
	settleTo(t, p, l.Next("s"), wal.Ledger{Delivered: p.Stat().Pending})
	sync(t, l)
	p.Close()
	old := wal.Appended{First: 2, Count: 1, Duplicate: true}
	wantUnsettled(t, l, old)
	late, err := l.OpenCursor("s", "late")
	must(t, err)
	settleTo(t, late, l.Next("s"), wal.Ledger{Delivered: late.Stat().Pending})
	wantSettled(t, l, old, false)
}

// For a batch of any length, WaitSettled waits for the lanes of the batch, up to its last event.
func TestWaitSettled_OfLongBatches(t *testing.T) {
	for _, n := range []int{4, 4096, 4097, 20_000} {
		l := open(t, wal.Options{Dir: t.TempDir()})
		p, err := l.OpenCursor("s", "d")
		must(t, err)
		a, err := l.Append(bg, &wal.Batch{Stream: "s", Events: slices.Repeat([]wal.Event{event("k", "x")}, n)})
		must(t, err)
		appendOne(t, l, "s", "k", "y")
		lane := wal.LaneOf("k")
		mark := func(next uint64, add wal.Ledger) {
			must(t, p.Settle(wal.Settlement{Lanes: map[uint8]wal.Progress{lane: {Checkpoint: next}}, Add: add}))
		}
		wantUnsettled(t, l, a)
		mark(uint64(n), delivered(uint64(n)-1))
		wantUnsettled(t, l, a)
		if n%2 == 0 {
			mark(uint64(n)+1, delivered(1))
			wantSettled(t, l, a, true)
			continue
		}
		waits := make(chan bool)
		go func() {
			got, err := l.WaitSettled(bg, "s", a)
			waits <- got && err == nil
		}()
		for l.Waiting("s") == 0 {
			runtime.Gosched()
		}
		mark(uint64(n)+1, droppedOf(1))
		if <-waits {
			t.Errorf("%d events: got delivered, of which the last was dropped", n)
		}
	}
}

// For a duplicate whose old offset is no longer known, WaitSettled waits for all events, and takes no memory for it.
func TestWaitSettled_ForAllTakesNoMemory(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir()})
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	const batches, each = 100, 1000
	for range batches {
		_, err := l.Append(bg, &wal.Batch{Stream: "s", Events: slices.Repeat([]wal.Event{event("k", "x")}, each)})
		must(t, err)
	}
	all := wal.Appended{Count: 10, Duplicate: true}
	for _, a := range []wal.Appended{all, {First: 1, Count: batches * each}} {
		sync(t, l)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		wantUnsettled(t, l, a)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > batches*each {
			t.Errorf("%+v: got %d bytes allocated, want less than one for each of the %d events", a, got, batches*each)
		}
	}
	settleTo(t, p, batches*each, delivered(batches*each-1))
	wantUnsettled(t, l, all)
	settleTo(t, p, batches*each+1, delivered(1))
	wantSettled(t, l, all, true)
}

// A destination that is added after a compaction misses the events that compaction has removed between those that the
// log holds. These events count as not delivered for a later wait, for a wait that has begun, and after a restart.
func TestWaitSettled_OfEventsCompactedBeforeADestinationCame(t *testing.T) {
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 256 << 10, MaxSize: 32 << 20}.Rewriting()
	l := open(t, o)
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	lane := wal.LaneOf("k0")
	for i := 0; l.Stat().Segments < 5; i++ {
		appendOne(t, l, "s", fmt.Sprint("k", i%20), strings.Repeat("x", 1000))
	}
	d := &live{place: p, stuck: func(e *wal.Event) bool { return e.Lane == lane }}
	d.deliver(t, l)
	rewritten(t, l)
	gone := wal.Appended{Count: 1}
	previous := uint64(0)
	for _, e := range readAll(t, l, "s", 1, wal.AllLanes) {
		if previous > 0 && e.Offset > previous+1 {
			gone.First = previous + 1
		}
		previous = e.Offset
	}
	if gone.First == 0 {
		t.Fatal("nothing was compacted; nothing is tested")
	}
	wantSettled(t, l, gone, true)
	p.Close()
	waits := make(chan bool)
	go func() {
		delivered, err := l.WaitSettled(bg, "s", gone)
		waits <- delivered || err != nil
	}()
	for l.Waiting("s") == 0 {
		runtime.Gosched()
	}
	_, err = l.OpenCursor("s", "late")
	must(t, err)
	if <-waits {
		t.Error("the wait under way counts the event as delivered")
	}
	wantSettled(t, l, gone, false)
	must(t, l.Close())
	l = open(t, o)
	late, err := l.OpenCursor("s", "late")
	must(t, err)
	wantSettled(t, l, gone, false)
	settleTo(t, late, l.Next("s"), wal.Ledger{Delivered: late.Stat().Pending})
	after := appendOne(t, l, "s", "k1", "y")
	settleTo(t, late, l.Next("s"), wal.Ledger{Delivered: late.Stat().Pending})
	wantSettled(t, l, after, true)
	must(t, l.Close())
	l = open(t, o)
	_, err = l.OpenCursor("s", "late")
	must(t, err)
	wantSettled(t, l, gone, false)
}
