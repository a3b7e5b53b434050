package wal_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/standpipe/standpipe/wal"
)

// numbered appends n events of a producer.
func numbered(l *wal.Log, producer string, sequence uint64, n, size int) (wal.Appended, error) {
	b := &wal.Batch{Stream: "s", ProducerID: producer, ProducerSequence: sequence}
	for range n {
		b.Events = append(b.Events, event("k", string(make([]byte, size))))
	}
	return l.Append(bg, b)
}

func TestProducer_Sequences(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir})
	for _, c := range []struct {
		sequence uint64
		n        int
		want     wal.Appended
		err      error
	}{
		{10, 2, wal.Appended{First: 1, Count: 2}, nil}, // the first batch may begin with any sequence
		{12, 3, wal.Appended{First: 3, Count: 3}, nil},
		{15, 1, wal.Appended{First: 6, Count: 1}, nil},
		{12, 3, wal.Appended{First: 3, Count: 3, Duplicate: true}, nil},
		{13, 2, wal.Appended{First: 4, Count: 2, Duplicate: true}, nil}, // a part of a batch
		{10, 6, wal.Appended{First: 1, Count: 6, Duplicate: true}, nil}, // all events, in a different batch
		{15, 2, wal.Appended{}, wal.ErrSequence},                        // half old, half new
		{17, 1, wal.Appended{}, wal.ErrSequence},                        // a gap
		{1, 3, wal.Appended{First: 0, Count: 3, Duplicate: true}, nil},  // older than the runs that the log keeps
		{^uint64(0), 1, wal.Appended{}, wal.ErrSequence},
		{16, 1, wal.Appended{First: 7, Count: 1}, nil},
	} {
		got, err := numbered(l, "p", c.sequence, c.n, 5)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%d events from %d: got %+v, %v, want %+v, %v", c.n, c.sequence, got, err, c.want, c.err)
		}
	}
}

// The log keeps no memory of a batch after the append, even if it rejected the batch for lack of space. Here the caller
// overwrites the bytes of the producer's ID.
func TestProducer_IsKnownAfterARejectionForLackOfSpace(t *testing.T) {
	dir := t.TempDir()
	full := false
	l := open(t, wal.Options{Dir: dir}.WithFaults(func() error {
		if full {
			return wal.ErrNoSpace
		}
		return nil
	}, nil))
	want, err := numbered(l, "producer", 1, 2, 5)
	if err != nil {
		t.Fatal(err)
	}
	full = true
	id := []byte("producer")
	if _, err := numbered(l, unsafe.String(&id[0], len(id)), 3, 1, 5); !errors.Is(err, wal.ErrFull) {
		t.Fatalf("got %v, want %v", err, wal.ErrFull)
	}
	full = false
	copy(id, "another!")
	want.Duplicate = true
	if got, err := numbered(l, "producer", 1, 2, 5); got != want || err != nil {
		t.Errorf("sent again: got %+v, %v, want %+v", got, err, want)
	}
	wantSound(t, dir)
}

func TestProducer_ResendIsRecognizedWhenTheOriginalIsTruncated(t *testing.T) {
	dir := t.TempDir()
	o := wal.Options{Dir: dir, SegmentSize: 64 << 10}
	l := open(t, o)
	p, _ := l.OpenCursor("s", "d")
	for i := range uint64(40) {
		if _, err := numbered(l, "p", i*2+1, 2, 5000); err != nil {
			t.Fatal(err)
		}
	}
	settleAll(l, p, wal.Count{Events: 80, Bytes: 80 * 5000})
	sync(t, l)
	if got := l.Streams()[0]; got.First < 70 {
		t.Fatalf("got %+v, want most of it truncated", got)
	}
	for range 2 {
		for _, i := range []uint64{0, 7, 39} {
			got, err := numbered(l, "p", i*2+1, 2, 5000)
			if want := (wal.Appended{First: i*2 + 1, Count: 2, Duplicate: true}); err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, o)
	}
}

func TestProducer_BatchOlderThanTheKeptRunsIsADuplicate(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir()})
	const n = wal.ProducerRuns + 10
	var tickets []*wal.Ticket
	for i := range uint64(n) { // each batch is followed by one of the other producer
		for _, producer := range []string{"p", "q"} {
			ticket, err := l.Submit(bg, &wal.Batch{Stream: "s", ProducerID: producer, ProducerSequence: i + 1, Events: []wal.Event{event("k", "")}})
			if err != nil {
				t.Fatal(err)
			}
			tickets = append(tickets, ticket)
		}
	}
	for _, ticket := range tickets {
		if _, err := ticket.Wait(bg); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ sequence, first uint64 }{{1, 0}, {10, 0}, {11, 21}, {n, 2*n - 1}} {
		got, err := numbered(l, "p", c.sequence, 1, 0)
		if want := (wal.Appended{First: c.first, Count: 1, Duplicate: true}); err != nil || got != want {
			t.Errorf("%d sent again: got %+v, %v, want %+v", c.sequence, got, err, want)
		}
	}
	if got := l.Next("s"); got != 2*n+1 {
		t.Errorf("got next %d, want %d", got, 2*n+1)
	}
}

func TestProducer_ContinuesAfterItsLastBatchesWereLost(t *testing.T) {
	s := newSample(t)
	dir := s.copy(t)
	l := open(t, sampleOptions(dir))
	for i := range uint64(60) {
		if _, err := numbered(l, "p", i+1, 1, 3000); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	overwriteNewest(t, dir)
	l = open(t, sampleOptions(dir))
	if got, err := numbered(l, "p", 61, 1, 10); err != nil || got.Duplicate {
		t.Errorf("the next batch: got %+v, %v", got, err)
	}
	if got, err := numbered(l, "p", 1, 1, 10); err != nil || !got.Duplicate {
		t.Errorf("the first batch again: got %+v, %v", got, err)
	}
	if _, err := numbered(l, "p", 63, 1, 10); !errors.Is(err, wal.ErrSequence) {
		t.Errorf("a gap: got %v, want ErrSequence", err)
	}
}

func TestProducer_NumberIsBounded(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir()})
	for round := range 8 {
		var tickets []*wal.Ticket
		for i := range 2500 {
			b := &wal.Batch{Stream: "s", ProducerID: fmt.Sprint(round, "-", i), ProducerSequence: 1, Events: []wal.Event{event("k", "")}}
			ticket, err := l.Submit(bg, b)
			if err != nil {
				t.Fatal(err)
			}
			tickets = append(tickets, ticket)
		}
		for _, ticket := range tickets {
			if _, err := ticket.Wait(bg); err != nil {
				t.Fatal(err)
			}
		}
	}
	appendOne(t, l, "s", "k", "")
	if got := l.Producers(); got > 2*wal.MaxProducers {
		t.Errorf("got %d producers remembered, want at most %d", got, 2*wal.MaxProducers)
	}
}

func overwriteNewest(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "wal", "*.seg"))
	must(t, err)
	overwrite(t, files[len(files)-1], 0, make([]byte, 8192))
}

func TestProducer_IdleOneIsEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &shiftedClock{}
		o := wal.Options{Dir: t.TempDir(), Clock: clock.now, ProducerIdle: 7 * day}
		l, err := wal.Open(bg, o)
		must(t, err)
		defer func() { l.Close() }()
		const gap = 9
		send := func(producer string, sequence uint64, want error) {
			t.Helper()
			if _, err := numbered(l, producer, sequence, 1, 10); !errors.Is(err, want) {
				t.Errorf("%s sends %d: got %v, want %v", producer, sequence, err, want)
			}
		}
		reopen := func() {
			t.Helper()
			must(t, l.Close())
			l, err = wal.Open(bg, o)
			must(t, err)
		}
		send("p", 1, nil)
		time.Sleep(6 * day)
		clock.jump(100 * day)
		send("q", 1, nil)
		send("p", gap, wal.ErrSequence) // still known: silent for six days only; the jump of the clock does not count
		time.Sleep(6 * day)
		send("p", gap, wal.ErrSequence) // a rejected batch also counts as activity
		time.Sleep(8 * day)
		send("p", gap, nil) // evicted
		time.Sleep(3 * day)
		clock.jump(-100 * day)
		reopen()
		clock.jump(100 * day)
		send("p", 2*gap, wal.ErrSequence) // the clock is not in use yet
		send("q", gap, nil)               // silent since before, and evicted on disk too
		time.Sleep(8 * day)
		reopen()
		time.Sleep(11 * time.Minute)
		send("r", 1, nil)
		send("p", 2, nil)
		if got := l.Producers(); got != 2 {
			t.Errorf("got %d producers remembered, want p and r", got)
		}
	})
}

// leaping appends n events of a producer that leaves out sequences.
func leaping(l *wal.Log, sequence, next uint64, n int) (wal.Appended, error) {
	b := &wal.Batch{Stream: "s", ProducerID: "p", ProducerSequence: sequence, ProducerNext: next}
	for range n {
		b.Events = append(b.Events, event("k", "v"))
	}
	return l.Append(bg, b)
}

func TestProducer_LeavesOutSequences(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir})
	for i, c := range []struct {
		sequence, next uint64
		n              int
		want           wal.Appended
		expected       uint64 // of a SequenceError; 0: none
	}{
		{10, 15, 5, wal.Appended{First: 1, Count: 5}, 0},
		{20, 25, 5, wal.Appended{First: 6, Count: 5}, 0},                  // after a gap
		{25, 35, 3, wal.Appended{First: 11, Count: 3}, 0},                 // with gaps in it
		{20, 25, 5, wal.Appended{First: 6, Count: 5, Duplicate: true}, 0}, // again
		{22, 25, 3, wal.Appended{First: 8, Count: 3, Duplicate: true}, 0}, // cut differently
		{22, 25, 2, wal.Appended{Count: 2, Duplicate: true}, 0},           // with fewer events: their offsets are not consecutive
		{25, 35, 3, wal.Appended{Count: 3, Duplicate: true}, 0},
		{15, 20, 5, wal.Appended{Count: 5, Duplicate: true}, 0}, // skipped sequences can't follow
		{30, 40, 10, wal.Appended{}, 35},
		{35, 35, 1, wal.Appended{}, 36}, // more events than sequences
		{35, 40, 5, wal.Appended{First: 14, Count: 5}, 0},
	} {
		if i == 9 { // and across a restart
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, wal.Options{Dir: dir})
		}
		got, err := leaping(l, c.sequence, c.next, c.n)
		var order *wal.SequenceError
		if errors.As(err, &order) != (c.expected > 0) || order != nil && order.Want != c.expected || got != c.want {
			t.Errorf("%d events of [%d, %d): got %+v, %v, want %+v, expected sequence %d", c.n, c.sequence, c.next, got, err, c.want, c.expected)
		}
	}
	if _, err := numbered(l, "p", 45, 1, 1); !errors.Is(err, wal.ErrSequence) {
		t.Errorf("a gap of a producer that leaves out nothing: got %v, want ErrSequence", err)
	}
}

// A batch that repeats some events of a stored one counts as delivered when all of them are, also the last.
func TestProducer_DeliveredWaitsForTheEventsOfAShorterResend(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir()})
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	if _, err := leaping(l, 20, 25, 5); err != nil {
		t.Fatal(err)
	}
	again, err := leaping(l, 20, 25, 2) // perhaps 20 and 24
	must(t, err)
	settleTo(t, p, 5, delivered(4))
	wantUnsettled(t, l, again)
	settleTo(t, p, 6, delivered(1))
	wantSettled(t, l, again, true)
}

// A batch that is stored is acked when it is sent again, for whatever reason a new batch of its producer is rejected.
func TestProducer_ResendIsAckedWhereNewBatchesAreRejected(t *testing.T) {
	caller, limit := errors.New("not now"), int64(0)
	for name, c := range map[string]struct {
		begin func(l *wal.Log) // from then on, new batches are rejected
		want  error
	}{
		"by the caller": {func(*wal.Log) {}, caller},
		"the log is full": {func(l *wal.Log) {
			for _, size := range []int{256 << 10, 16 << 10, 900} {
				fill(t, l, "other", size, 1)
			}
		}, wal.ErrFull},
		"the stream's budget is full":  {func(*wal.Log) { limit = 1500 }, wal.ErrFull},
		"the stream's budget is small": {func(*wal.Log) { limit = 100 }, wal.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			limit = 0
			l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: 4 << 20})
			policy := func(string) wal.Policy { return wal.Policy{MaxSize: limit} }
			l.SetPolicy(policy)
			_, err := l.OpenCursor("s", "d")
			must(t, err)
			b := &wal.Batch{Stream: "s", ProducerID: "p", ProducerSequence: 1, Events: []wal.Event{event("k", strings.Repeat("x", 1000))}}
			stored, err := l.Append(t.Context(), b)
			must(t, err)
			c.begin(l)
			l.SetPolicy(policy)
			if c.want == caller {
				b.Rejection = caller
			}
			stored.Duplicate = true
			if got, err := l.Append(t.Context(), b); err != nil || got != stored {
				t.Errorf("sent again: got %+v, %v, want %+v", got, err, stored)
			}
			for _, next := range []wal.Batch{{ProducerID: "p", ProducerSequence: 2}, {}} {
				next.Stream, next.Events, next.Rejection = "s", b.Events, b.Rejection
				if got, err := l.Append(t.Context(), &next); !errors.Is(err, c.want) {
					t.Errorf("a new batch of producer %q: got %+v, %v, want %v", next.ProducerID, got, err, c.want)
				}
			}
		})
	}
}
