package wal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

func setLimits(t *testing.T, l *wal.Log, x wal.Limits) {
	t.Helper()
	must(t, l.CheckLimits(x))
	l.SetLimits(x)
}

// A log that shrinks below its used bytes keeps every event, rejects appends until it fits, and then stays under the new limit.
func TestLimits_ShrinkBelowTheUsedBytes(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 4 {
		size := 1000 + r.IntN(40_000)
		most := int64(4<<20 + r.IntN(8<<20))
		least := int64(1<<20 + r.IntN(1<<20))
		l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: most})
		p, _ := l.OpenCursor("s", "d")
		stored := fill(t, l, "s", size, 1+r.IntN(8))
		setLimits(t, l, wal.Limits{MaxSize: least})
		if st := l.Stat(); st.MaxBytes != least || st.Bytes <= least {
			t.Fatalf("size %d of %d: got %+v, want more bytes than the new maximum of %d", size, most, st, least)
		}
		if _, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", "x")}}); !errors.Is(err, wal.ErrFull) || !l.Full() {
			t.Errorf("size %d of %d, then %d: got %v, want ErrFull", size, most, least, err)
		}
		if got := uint64(len(readAll(t, l, "s", 1, wal.AllLanes))); got != stored.Events {
			t.Errorf("size %d of %d, then %d: got %d events, want %d", size, most, least, got, stored.Events)
		}
		settleAll(l, p, stored)
		sync(t, l)
		if got := appendOne(t, l, "s", "k", "x").First; got != stored.Events+1 {
			t.Errorf("got offset %d, want %d", got, stored.Events+1)
		}
		fill(t, l, "s", size, 1)
		if st := l.Stat(); st.Bytes > least || occupied(t, l) > least {
			t.Errorf("size %d of %d, then %d: got %+v, %d bytes in the folder", size, most, least, st, occupied(t, l))
		}
	}
}

func TestLimits_GrowAcceptsAgain(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: 1 << 20})
	l.OpenCursor("s", "d")
	stored := fill(t, l, "s", 10_000, 1)
	setLimits(t, l, wal.Limits{MaxSize: 8 << 20})
	if more := fill(t, l, "s", 10_000, 1); more.Bytes < 2<<20 {
		t.Errorf("got %d bytes, and %d more with eight times the maximum", stored.Bytes, more.Bytes)
	}
}

// An append that waits under block is rejected once on_full is reject, and stored once the log is larger.
func TestLimits_HandleWaitingAppends(t *testing.T) {
	for _, x := range []wal.Limits{{MaxSize: 1 << 20, OnFull: wal.Reject}, {MaxSize: 8 << 20, OnFull: wal.Block}} {
		l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: 1 << 20})
		l.OpenCursor("s", "d")
		fill(t, l, "s", 10_000, 1)
		setLimits(t, l, wal.Limits{MaxSize: 1 << 20, OnFull: wal.Block})
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := l.Append(short, &wal.Batch{Stream: "s", Events: []wal.Event{event("k", string(make([]byte, 100_000)))}})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v under block, want the append to wait", err)
		}
		waiting, err := l.Submit(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", string(make([]byte, 100_000)))}})
		must(t, err)
		select {
		case <-waiting.Done():
			t.Fatal("the append does not wait")
		default:
		}
		setLimits(t, l, x)
		_, err = waiting.Wait(t.Context())
		if stored := err == nil; stored != (x.OnFull == wal.Block) || err != nil && !errors.Is(err, wal.ErrFull) {
			t.Errorf("%+v: got %v", x, err)
		}
	}
}

func TestLimits_TooSmallForTheState(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: 64 << 20})
	for i := range 1000 {
		appendOne(t, l, fmt.Sprintf("%0120d", i), "k", "x")
	}
	if err := l.CheckLimits(wal.Limits{MaxSize: 1 << 20}); err == nil {
		t.Error("got no error for a maximum that the state exceeds")
	}
	must(t, l.CheckLimits(wal.Limits{MaxSize: 32 << 20}))
	for _, x := range []wal.Limits{{MaxSize: 1<<20 - 1}, {MaxSize: 64 << 20, OnFull: "wait"}} {
		if err := l.CheckLimits(x); err == nil {
			t.Errorf("%+v: got no error", x)
		}
	}
}

func TestLimits_SegmentsShrinkWithTheLog(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: 64 << 20})
	l.OpenCursor("s", "d")
	setLimits(t, l, wal.Limits{MaxSize: 4 << 20})
	fill(t, l, "s", 20_000, 1)
	if st := l.Stat(); st.Segments < 3 {
		t.Errorf("got %d segments in a full log of 4 MiB, want some of a quarter each", st.Segments)
	}
}
