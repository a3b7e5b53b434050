package wal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	gosync "sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// rejectNames opens a cursor in each of n new streams, appends an event that the log must reject with want, and closes the
// cursor, as the agent does for a stream whose first batch is rejected.
func rejectNames(t *testing.T, l *wal.Log, n int, want error) {
	t.Helper()
	for i := range n {
		name := fmt.Sprint("new-", i)
		p, err := l.OpenCursor(name, "d")
		must(t, err)
		p.SetLabel("file")
		batch := &wal.Batch{Stream: name, ProducerID: name, ProducerSequence: 1, Events: []wal.Event{event("k", strings.Repeat("x", 20<<10))}}
		if _, err := l.Append(t.Context(), batch); !errors.Is(err, want) {
			t.Fatalf("got %v for %s, want %v", err, name, want)
		}
		p.Close()
	}
}

// New streams whose events a full log rejects take neither memory nor disk, however many there are. Their names are
// accepted once the log has room.
func TestStream_RejectedByAFullLogLeavesNothingBehind(t *testing.T) {
	o := wal.Options{Dir: t.TempDir(), MaxSize: wal.MinMaxSize}
	l := open(t, o)
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	fill(t, l, "s", 16<<10, 1)
	fill(t, l, "s", 100, 1)
	rejectNames(t, l, 100, wal.ErrFull)
	sync(t, l)
	before := l.Stat()
	rejectNames(t, l, 10_000, wal.ErrFull)
	if n, _ := l.StreamsInMemory(); n != 1 {
		t.Errorf("got %d streams in memory, want 1", n)
	}
	if got := l.Streams(); len(got) != 1 {
		t.Errorf("got %d streams, want 1", len(got))
	}
	sync(t, l)
	if got := l.Stat(); got.StateBytes != before.StateBytes {
		t.Errorf("got %+v after the rejected names, want %+v", got, before)
	}
	settleAll(l, p, p.Stat().Pending)
	sync(t, l)
	for range 2 {
		for i := range 20 {
			name := fmt.Sprint("new-", i)
			p, err := l.OpenCursor(name, "d")
			must(t, err)
			appendOne(t, l, name, "k", "x")
			p.Close()
			if got := p.Stat(); got.Pending != got.Appended || got.Pending.Events != l.Next(name)-1 || len(l.Cursors(name)) != 1 {
				t.Errorf("%s: got %+v and %d cursors", name, got, len(l.Cursors(name)))
			}
		}
		must(t, l.Close())
		if report := inspectLog(t, o.Dir); len(report.Cursors) != 21 {
			t.Errorf("got %d cursors on the disk, want 21", len(report.Cursors))
		}
		l = open(t, o)
	}
}

// A log that has failed writes no checkpoint. New names leave nothing behind all the same.
func TestStream_RejectedByAFailedLogLeavesNothingBehind(t *testing.T) {
	fails := false
	l := open(t, wal.Options{Dir: t.TempDir()}.WithFaults(nil, func() error {
		if fails {
			return errors.New("input/output error")
		}
		return nil
	}))
	sync(t, l)
	fails = true
	if _, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", "x")}}); !errors.Is(err, wal.ErrFailed) {
		t.Fatal(err)
	}
	rejectNames(t, l, 2_000, wal.ErrFailed)
	if n, dirty := l.StreamsInMemory(); n > 0 || dirty {
		t.Errorf("got %d streams in memory, and cursors to write: %t", n, dirty)
	}
}

// Callers open, append to and close the same few streams at the same time. Batches that are too large are rejected. A
// stored event always has the cursor that was open when it was appended.
func TestStream_IsMadeAgainWhileItsCursorIsClosed(t *testing.T) {
	seed := draw.Seed(t)
	o := wal.Options{Dir: t.TempDir(), MaxSize: wal.MinMaxSize}
	l := open(t, o)
	large := strings.Repeat("x", 1<<20)
	var stored [40]uint64
	var mu gosync.Mutex
	var all gosync.WaitGroup
	for worker := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, worker))
		all.Go(func() {
			for step := range 400 {
				i := step / 10
				name, data := fmt.Sprint("s", i), large
				if r.IntN(10) == 0 {
					data = "x"
				}
				p, err := l.OpenCursor(name, fmt.Sprint("d", worker))
				if err != nil {
					t.Error(err)
					return
				}
				a, err := l.Append(t.Context(), &wal.Batch{Stream: name, Events: []wal.Event{event("k", data)}})
				if (err != nil) != (data == large) || err != nil && !errors.Is(err, wal.ErrTooLarge) {
					t.Errorf("got %+v, %v for %d bytes", a, err, len(data))
				}
				if err == nil {
					mu.Lock()
					stored[i]++
					mu.Unlock()
					if st := p.Stat(); st.Pending.Events < a.First {
						t.Errorf("got %+v pending after event %d of %s", st.Pending, a.First, name)
					}
				}
				p.Close()
			}
		})
	}
	all.Wait()
	for range 2 {
		want := 0
		for i, n := range stored {
			name := fmt.Sprint("s", i)
			if got := l.Appended(name).Events; got != n {
				t.Errorf("%s: got %d events, want %d", name, got, n)
			}
			if n > 0 {
				want++
			}
			for _, p := range l.Cursors(name) {
				if got := p.Stat(); n == 0 || got.Pending.Events != n {
					t.Errorf("%s: got %+v pending at %s of %d events", name, got.Pending, p.Name(), n)
				}
			}
			if got := len(readAll(t, l, name, 1, wal.AllLanes)); uint64(got) != n {
				t.Errorf("%s: got %d events read, want %d", name, got, n)
			}
		}
		if n, _ := l.StreamsInMemory(); n != want {
			t.Errorf("got %d streams in memory, want %d", n, want)
		}
		must(t, l.Close())
		l = open(t, o)
	}
}

// An operator's pause of a destination whose stream has no events yet lasts until it ends, also over a restart.
func TestPause_OfAStreamWithoutEventsLasts(t *testing.T) {
	o := wal.Options{Dir: t.TempDir()}
	l := open(t, o)
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	since := time.Now()
	p.Pause(since)
	sync(t, l)
	p.Close()
	must(t, l.Close())
	l = open(t, o)
	if p, err = l.OpenCursor("s", "d"); err != nil || !p.Paused().Equal(since) {
		t.Fatalf("got %v, %v, want a pause since %v", p.Paused(), err, since)
	}
	p.Pause(time.Time{})
	p.Close()
	must(t, l.Close())
	l = open(t, o)
	if got := l.Streams(); len(got) > 0 {
		t.Errorf("got %+v with nothing to keep", got)
	}
	if p, err = l.OpenCursor("s", "d"); err != nil || !p.Paused().IsZero() {
		t.Errorf("got %v, %v after the pause", p.Paused(), err)
	}
}

// A destination that leaves the configuration before the first event of its stream gets none of the events that are
// appended until it returns, also over a restart.
func TestPark_BeforeTheFirstEventLasts(t *testing.T) {
	o := wal.Options{Dir: t.TempDir()}
	l := open(t, o)
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	p.Park()
	must(t, l.Close())
	l = open(t, o)
	appendOne(t, l, "s", "k", "x")
	if p, err = l.OpenCursor("s", "d"); err != nil {
		t.Fatal(err)
	}
	if st := p.Stat(); st.Pending.Events != 0 || st.Dropped[wal.DroppedParked].Events != 1 {
		t.Errorf("got %+v, want one event dropped", st)
	}
}

// The entries of evicted producers are deleted by a later commit if one is rejected.
func TestDeletions_OfARejectedCommitAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := false
		o := wal.Options{Dir: t.TempDir(), ProducerIdle: time.Hour}.WithFaults(func() error {
			if full {
				return wal.ErrNoSpace
			}
			return nil
		}, nil)
		l := open(t, o)
		must(t, appendAs(t, l, "s", "idle", 1))
		time.Sleep(2 * time.Hour)
		full = true
		if err := appendAs(t, l, "s", "fresh", 1); !errors.Is(err, wal.ErrFull) {
			t.Fatalf("got %v, want ErrFull", err)
		}
		full = false
		must(t, appendAs(t, l, "s", "fresh", 1))
		must(t, l.Close())
		l = open(t, o)
		if got := l.Producers(); got != 1 {
			t.Errorf("got %d producers after a restart, want 1", got)
		}
		must(t, l.Close())
	})
}
