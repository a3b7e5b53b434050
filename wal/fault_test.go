package wal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	goSync "sync"
	"sync/atomic"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

var errDisk = errors.New("the disk says no")

// failing returns a hook that fails after n calls, and the number of its calls.
func failing(n int) (hook func() error, calls *int) {
	calls = new(int)
	return func() error {
		*calls++
		if *calls > n {
			return errDisk
		}
		return nil
	}, calls
}

func TestFault_NothingIsAckedAfterAFailedCommit(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		for n := 0; ; n++ {
			hook, calls := failing(n)
			t.Run(fmt.Sprintf("%s/n=%d", when, n), func(t *testing.T) {
				failCommit(t, when, hook)
			})
			if *calls <= n || t.Failed() {
				break
			}
		}
	}
}

// failCommit appends while commits fail from some call on. It compares the acked events with the events after a reopen:
// all acked events must be there, and at most the commit group whose outcome is unknown in addition.
func failCommit(t *testing.T, when string, hook func() error) {
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10}
	faulty := o.WithFaults(hook, nil)
	if when == "after" {
		faulty = o.WithFaults(nil, hook)
	}
	l, err := wal.Open(t.Context(), faulty)
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.OpenCursor("s", "d")
	if err != nil {
		t.Fatal(err)
	}
	var acked, refused uint64
	for i := range 12 {
		_, err := l.Append(t.Context(), &wal.Batch{Stream: "s", ProducerID: "p", ProducerSequence: uint64(i + 1),
			Events: []wal.Event{event("k", fmt.Sprintf("%010000d", i))}})
		switch {
		case err == nil && refused > 0:
			t.Fatalf("append %d was acked after a commit had failed", i)
		case err == nil:
			acked++
			settleAll(l, p, wal.Count{})
		case !errors.Is(err, wal.ErrFailed):
			t.Fatalf("got %v, want ErrFailed", err)
		default:
			refused++
		}
	}
	if refused > 0 {
		if err := l.Failed(); !errors.Is(err, wal.ErrFailed) {
			t.Errorf("got failed %v after %d refusals", err, refused)
		}
		<-l.FailedChan()
		if err := l.Sync(t.Context()); !errors.Is(err, wal.ErrFailed) {
			t.Errorf("got %v from Sync, want ErrFailed", err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	checkAcked(t, o, acked)
}

func checkAcked(t *testing.T, o wal.Options, acked uint64) {
	t.Helper()
	l := open(t, o)
	events := uint64(l.Next("s") - 1)
	if events < acked || events > acked+1 {
		t.Errorf("got %d events after a reopen, want %d and at most one more", events, acked)
	}
	place, _ := l.OpenCursor("s", "d")
	if st := place.Stat(); st.Appended.Events != events || st.Pending.Events > events {
		t.Errorf("got %+v", st)
	}
	for _, e := range readAll(t, l, "s", 1, wal.AllLanes) {
		if want := fmt.Sprintf("%010000d", e.Offset-1); string(e.Data) != want {
			t.Fatalf("event %d is not the one that was sent", e.Offset)
		}
	}
	if events == 0 {
		return
	}
	got, err := l.Append(t.Context(), &wal.Batch{Stream: "s", ProducerID: "p", ProducerSequence: events, Events: []wal.Event{event("k", "")}})
	if want := (wal.Appended{First: events, Count: 1, Duplicate: true}); err != nil || got != want {
		t.Errorf("the last one sent again: got %+v, %v, want %+v", got, err, want)
	}
}

func TestFault_EndsEveryWaitingAppend(t *testing.T) {
	hook, _ := failing(0)
	o := wal.Options{Dir: t.TempDir()}.WithFaults(hook, nil)
	l, err := wal.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var group goSync.WaitGroup
	for range 50 {
		group.Go(func() {
			if _, err := l.Append(context.Background(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", "x")}}); !errors.Is(err, wal.ErrFailed) {
				t.Errorf("got %v, want ErrFailed", err)
			}
		})
	}
	group.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(o.Dir, "wal", "*.seg*")); len(files) != 1 {
		t.Errorf("got files %v, want one", files)
	}
	if got := open(t, wal.Options{Dir: o.Dir}).Next("s"); got != 1 {
		t.Errorf("got next %d, want 1", got)
	}
}

// A batch that was rejected for lack of space leaves no trace in its producer's state.
func TestRefusedBatch_IsStoredWhenItIsSentAgain(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	short := atomic.Int32{}
	l := open(t, wal.Options{Dir: t.TempDir()}.WithFaults(func() error {
		if short.Add(-1) >= 0 {
			return wal.ErrNoSpace
		}
		return nil
	}, nil))
	stored, sequence := uint64(0), uint64(1)
	for i := range 20 { // including the first batch of an unknown producer
		n := 1 + r.IntN(5)
		b := &wal.Batch{Stream: "s", ProducerID: "p", ProducerSequence: sequence, Events: slices.Repeat([]wal.Event{event("k", "x")}, n)}
		short.Store(int32((i + 1) % 3))
		for short.Load() > 0 {
			if _, err := l.Append(t.Context(), b); err != nil && !errors.Is(err, wal.ErrFull) {
				t.Fatalf("got %v, want ErrFull", err)
			} else if err == nil {
				t.Fatal("got no error of a commit that found no space")
			}
		}
		got, err := l.Append(t.Context(), b)
		if want := (wal.Appended{First: stored + 1, Count: n}); err != nil || got != want {
			t.Fatalf("batch %d, sent again: got %+v, %v, want %+v", i, got, err, want)
		}
		stored, sequence = stored+uint64(n), sequence+uint64(n)
	}
}
