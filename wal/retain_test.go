package wal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	goSync "sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// readRetained returns the offsets of the stream's events that can be read, ascending.
func readRetained(t testing.TB, l *wal.Log, stream string) (offsets []uint64) {
	t.Helper()
	for next := uint64(1); ; {
		chunk, err := wal.History{Log: l}.Read(stream, next, wal.AllLanes, 1<<20)
		must(t, err)
		for i := range chunk.Events {
			offsets = append(offsets, chunk.Events[i].Offset)
		}
		if next = chunk.Next; chunk.End {
			return offsets
		}
	}
}

// wantFrom checks that the offsets are a run that ends with the last one of the stream, and returns how many there are.
func wantFrom(t testing.TB, l *wal.Log, offsets []uint64) int {
	t.Helper()
	for i, offset := range offsets {
		if want := l.Next("s") - uint64(len(offsets)-i); offset != want {
			t.Fatalf("got offset %d as number %d of %d, want %d", offset, i, len(offsets), want)
		}
	}
	return len(offsets)
}

// A log that retains segments rejects no append while it has a retained segment, for any sizes, and stays within its maximum.
// It rejects about as many as a log without: two equal logs differ too, since a segment may be sealed a little earlier in one.
func TestRetain_RejectsNothing(t *testing.T) {
	seed := draw.Seed(t)
	for n := range uint64(4) {
		retainsAndRejectsNothing(t, rand.New(rand.NewPCG(seed, n)))
	}
}

func retainsAndRejectsNothing(t *testing.T, r *rand.Rand) {
	t.Helper()
	o := wal.Options{MaxSize: 1<<20 + r.Int64N(15<<20), SegmentSize: 64<<10 + r.Int64N(1<<20), OnFull: []wal.OnFull{wal.Reject, wal.DropOldest}[r.IntN(2)]}
	o = o.WithUnlink(func(path string) error { time.Sleep(50 * time.Millisecond); return os.Remove(path) }) // on a slow disk
	largest, seldom := int(o.MaxSize/int64(4+r.IntN(1+r.IntN(60)))), 1+r.IntN(30)
	var logs [2]*wal.Log
	var cursors [2]*wal.Cursor
	for i := range logs {
		o.Dir, o.Retain = t.TempDir(), time.Duration(i)*24*time.Hour
		logs[i] = open(t, o)
		cursors[i], _ = logs[i].OpenCursor("s", "d")
		if o.OnFull == wal.DropOldest { // an append may wait for drops
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() { defer close(stopped); dropFloors(logs[i], cursors[i], stop) }()
			t.Cleanup(func() { close(stop); <-stopped })
		}
	}
	rejected, most := [2]int{}, 0
	for range 100 {
		e := event(fmt.Sprint("k", r.IntN(5)), strings.Repeat("x", r.IntN(largest)))
		settles, share := r.IntN(seldom) == 0 && o.OnFull == wal.Reject, 1-r.Float64()*r.Float64()
		for i, l := range logs {
			if settles {
				at := cursors[i].Stat().Checkpoint
				dropTo(l, cursors[i], at+uint64(share*float64(l.Next("s")-at)))
				must(t, l.Sync(t.Context()))
				l.AwaitTruncation()
			}
			switch _, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{e}}); {
			case errors.Is(err, wal.ErrFull) && l.Stat().RetainedSegments == 0:
				rejected[i]++
			case err != nil:
				t.Fatalf("with %+v: %v", l.Stat(), err)
			}
			if st := l.Stat(); st.Bytes+st.RetainedBytes > st.MaxBytes || occupied(t, l) > st.MaxBytes {
				t.Fatalf("got %d bytes in the folder, %+v", occupied(t, l), st)
			}
		}
		most = max(most, logs[1].Stat().RetainedSegments)
	}
	t.Logf("%d of 100 rejected, up to %d segments retained, %+v", rejected, most, logs[1].Stat())
	if rejected[1] > 2*rejected[0]+10 {
		t.Errorf("%d of 100 events rejected, and %d by a log that retains nothing", rejected[1], rejected[0])
	}
}

// Settled segments stay until their period is over, counted from their seal, and all go when the setting says so.
func TestRetain_EndsWithThePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10, MaxSize: 64 << 20, Retain: time.Hour}
		l := open(t, o)
		p := appendUntil(t, l, 10)
		settleAll(l, p, p.Stat().Pending)
		sync(t, l)
		if got := wantFrom(t, l, readRetained(t, l, "s")); got != int(l.Next("s")-1) || l.Stat().RetainedSegments < 9 {
			t.Errorf("got %d events and %+v, want all", got, l.Stat())
		}
		time.Sleep(50 * time.Minute)
		for n := l.Stat().RetainedSegments; l.Stat().RetainedSegments < n+10; sync(t, l) {
			appendOne(t, l, "s", "k", strings.Repeat("x", 16<<10))
			settleAll(l, p, p.Stat().Pending)
		}
		time.Sleep(9 * time.Minute)
		sync(t, l)
		if got := wantFrom(t, l, readRetained(t, l, "s")); got != int(l.Next("s")-1) {
			t.Errorf("got %d events before the period is over, want all", got)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		half := l.Stat().RetainedSegments
		if got := wantFrom(t, l, readRetained(t, l, "s")); got == int(l.Next("s")-1) || half < 9 || half > 11 {
			t.Errorf("got %d events and %+v once the first period is over, want half", got, l.Stat())
		}
		setLimits(t, l, wal.Limits{MaxSize: o.MaxSize})
		l.AwaitTruncation()
		if got := l.Stat(); got.RetainedBytes != 0 || len(segmentFiles(t, o.Dir)) > got.Segments+1 {
			t.Errorf("got %+v once nothing is retained", got)
		}
	})
}

// After a restart the settled segments are retained again before the first append, by the times of their files.
func TestRetain_OutlivesARestart(t *testing.T) {
	for _, end := range []string{"close", "kill"} {
		t.Run(end, func(t *testing.T) {
			o := wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10, MaxSize: 2 << 20, Retain: time.Hour}
			l := open(t, o)
			p := appendUntil(t, l, 2)
			for range 60 {
				settleAll(l, p, p.Stat().Pending)
				sync(t, l)
				appendOne(t, l, "s", "k", strings.Repeat("x", 16<<10))
			}
			before := readRetained(t, l, "s")
			if l.Stat().RetainedSegments < 10 {
				t.Fatalf("got %+v, want many segments retained", l.Stat())
			}
			if end == "kill" {
				o.Dir = copyInstant(t, o.Dir)
			}
			must(t, l.Close())
			l = open(t, o)
			if st := l.Stat(); st.RetainedSegments < 10 || l.Full() || st.Bytes > 1<<20 {
				t.Errorf("got %+v, full %v after the start", st, l.Full())
			}
			if got := wantFrom(t, l, readRetained(t, l, "s")); got < len(before)*3/4 { // the headroom may have grown
				t.Errorf("got %d events after the start, there were %d", got, len(before))
			}
			if got := readAll(t, l, "s", 1, wal.AllLanes); len(got) > len(before)/2 {
				t.Errorf("Read returns %d retained events", len(got))
			}
			must(t, l.Close())
			long := time.Now().Add(-2 * time.Hour)
			for _, file := range segmentFiles(t, o.Dir) {
				must(t, os.Chtimes(filepath.Join(o.Dir, "wal", filepath.Base(file)), long, long))
			}
			l = open(t, o)
			sync(t, l)
			if st := l.Stat(); st.RetainedBytes != 0 {
				t.Errorf("got %+v two hours later, want nothing retained", st)
			}
		})
	}
}

// A new destination begins behind the retained segments, as if they were gone: else they would become backlog.
func TestRetain_IsNoBacklogOfANewDestination(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10, MaxSize: 64 << 20, Retain: time.Hour})
	p := appendUntil(t, l, 10)
	settleAll(l, p, p.Stat().Pending)
	sync(t, l)
	late, err := l.OpenCursor("s", "late")
	must(t, err)
	st, left := late.Stat(), uint64(len(readAll(t, l, "s", late.Stat().Checkpoint, wal.AllLanes)))
	if st.Pending.Events != left || st.Dropped[wal.DroppedAbsent].Events != l.Next("s")-1-left || left > 10 {
		t.Errorf("got %+v, and %d events to read", st, left)
	}
	if got := wantFrom(t, l, readRetained(t, l, "s")); got != int(l.Next("s")-1) {
		t.Errorf("got %d events retained, want all", got)
	}
}

// Retained segments of the last run are no backlog either, also if retain is gone from the configuration: else events that were
// delivered long ago would be delivered to the new destination.
func TestRetain_IsNoBacklogAfterARestart(t *testing.T) {
	for _, retain := range []time.Duration{0, time.Hour} {
		o := wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10, MaxSize: 64 << 20, Retain: time.Hour}
		l := open(t, o)
		p := appendUntil(t, l, 10)
		settleAll(l, p, p.Stat().Pending)
		sync(t, l)
		must(t, l.Close())
		o.Retain = retain
		l = open(t, o)
		late, err := l.OpenCursor("s", "late")
		must(t, err)
		if st := late.Stat(); st.Pending.Events > 10 {
			t.Errorf("retain %v: got %+v, want the events of the newest segment pending", retain, st)
		}
		sync(t, l)
		l.AwaitTruncation()
		if st := l.Stat(); st.Segments > 2 {
			t.Errorf("retain %v: got %+v, want the settled segments gone from the row", retain, st)
		}
		must(t, l.Close())
	}
}

// Yield unlinks the oldest segments, as many as are wanted.
func TestRetain_YieldsTheOldestSegments(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10, MaxSize: 64 << 20, Retain: time.Hour})
	p := appendUntil(t, l, 10)
	settleAll(l, p, p.Stat().Pending)
	sync(t, l)
	before := l.Stat()
	if !(wal.History{Log: l}).Yield(1) {
		t.Error("nothing was retained")
	}
	if got := l.Stat(); got.RetainedSegments != before.RetainedSegments-1 || got.Bytes != before.Bytes {
		t.Errorf("got %+v, was %+v, want one segment less", got, before)
	}
	wantFrom(t, l, readRetained(t, l, "s"))
	wal.History{Log: l}.Yield(before.RetainedBytes)
	if got := l.Stat(); got.RetainedBytes != 0 || (wal.History{Log: l}).Yield(1) {
		t.Errorf("got %+v after all was wanted", got)
	}
}

// Yield returns once all of the wanted bytes are gone, however many segments that takes.
func TestRetain_YieldsManySegments(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10, MaxSize: 64 << 20, Retain: time.Hour})
	p := appendUntil(t, l, 50+rand.New(rand.NewPCG(draw.Seed(t), 1)).IntN(50))
	settleAll(l, p, p.Stat().Pending)
	sync(t, l)
	before := l.Stat()
	wal.History{Log: l}.Yield(before.RetainedBytes)
	if got := l.Stat(); got.RetainedBytes != 0 {
		t.Errorf("%d of %d retained bytes are left of %d segments, want none", got.RetainedBytes, before.RetainedBytes, before.RetainedSegments)
	}
}

// Of several callers that want bytes at once, each gets as many as it wants.
func TestRetain_YieldsToAllWhoWant(t *testing.T) {
	r := rand.New(rand.NewPCG(draw.Seed(t), 1))
	for range 10 {
		l := open(t, wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10, MaxSize: 64 << 20, Retain: time.Hour})
		p := appendUntil(t, l, 20)
		settleAll(l, p, p.Stat().Pending)
		sync(t, l)
		before := l.Stat().RetainedBytes
		most := before/2 + r.Int64N(before/2)
		wanted := []int64{1, most, 1 + r.Int64N(most), 1}
		r.Shuffle(len(wanted), func(i, j int) { wanted[i], wanted[j] = wanted[j], wanted[i] })
		var callers goSync.WaitGroup
		for _, bytes := range wanted {
			callers.Go(func() { wal.History{Log: l}.Yield(bytes) })
		}
		callers.Wait()
		if got := before - l.Stat().RetainedBytes; got < most {
			t.Fatalf("%d of %d bytes unlinked for callers who want %d", got, before, wanted)
		}
		must(t, l.Close())
	}
}
