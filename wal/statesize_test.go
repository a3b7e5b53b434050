package wal_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// appendAs appends one event of a producer.
func appendAs(t testing.TB, l *wal.Log, stream, producer string, sequence uint64) error {
	t.Helper()
	_, err := l.Append(t.Context(), &wal.Batch{
		Stream: stream, ProducerID: producer, ProducerSequence: sequence, Events: []wal.Event{event("k", "x")},
	})
	return err
}

func TestState_RejectsNewNamesAtItsBoundAndGoesOnWithKnownOnes(t *testing.T) {
	for _, kind := range []string{"stream", "producer"} {
		t.Run(kind, func(t *testing.T) {
			o := wal.Options{Dir: t.TempDir(), MaxSize: wal.MinMaxSize}
			l := open(t, o)
			known := 0
			var rejected *wal.StateError
			for ; rejected == nil && known < 10_000; known++ {
				stream, producer := "s", fmt.Sprintf("name-%d", known)
				if kind == "stream" {
					stream, producer = producer, ""
				}
				if err := appendAs(t, l, stream, producer, 1); err != nil && !errors.As(err, &rejected) {
					t.Fatal(err)
				}
			}
			known--
			st := l.Stat()
			if known < 500 || rejected == nil || !st.StateFull || st.StateBytes > st.MaxStateBytes || rejected.Max != st.MaxStateBytes || rejected.Used != st.StateBytes {
				t.Fatalf("got %+v after %d names, %+v", rejected, known, st)
			}
			name := fmt.Sprintf("name-%d", known)
			if !errors.Is(rejected, wal.ErrStateFull) || errors.Is(rejected, wal.ErrFull) || errors.Is(rejected, wal.ErrTooLarge) ||
				!strings.Contains(rejected.Error(), fmt.Sprintf("%s %q", kind, name)) {
				t.Errorf("got %v, want the %s %q named", rejected, kind, name)
			}
			for _, st := range l.Streams() {
				if st.Name == name {
					t.Errorf("got %+v after its append was rejected", st)
				}
			}
			for i := range 20 {
				stream, producer := "s", fmt.Sprintf("name-%d", i)
				if kind == "stream" {
					stream, producer = producer, ""
				}
				if err := appendAs(t, l, stream, producer, 2); err != nil {
					t.Fatalf("%s %d of %d, which is known: %v", kind, i, known, err)
				}
			}
			must(t, l.Close())
			l = open(t, o)
			if got := l.Stat(); got.StateBytes < st.StateBytes*9/10 {
				t.Errorf("got %+v after a restart, want about %d bytes of state", got, st.StateBytes)
			}
			if err := appendAs(t, l, "another", "another", 1); !errors.Is(err, wal.ErrStateFull) {
				t.Errorf("got %v after a restart, want ErrStateFull", err)
			}
		})
	}
}

func TestState_HasRoomForAnotherDestinationOfKnownStreams(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: wal.MinMaxSize})
	var err error
	known := 0
	for ; err == nil; known++ {
		name := fmt.Sprintf("stream-%d", known)
		_, cursorErr := l.OpenCursor(name, "first") // the cursor of a stream without events
		must(t, cursorErr)
		err = appendAs(t, l, name, "", 0)
	}
	if !errors.Is(err, wal.ErrStateFull) {
		t.Fatal(err)
	}
	added := 0
	for ; added < known-1; added++ {
		if _, err = l.OpenCursor(fmt.Sprintf("stream-%d", added), "second"); err != nil {
			break
		}
	}
	var rejected *wal.StateError
	if !errors.As(err, &rejected) || rejected.Destination != "second" || added < known/3 {
		t.Errorf("got %v after %d of %d, want room for a third, and then the destination named", err, added, known)
	}
	if got := len(l.Cursors(fmt.Sprintf("stream-%d", added))); got != 1 {
		t.Errorf("got %d places after one was rejected, want 1", got)
	}
}

// The state of a producer shrinks before its batches are rejected.
func TestState_OfProducersWithManyRunsStaysWithinItsBound(t *testing.T) {
	o := wal.Options{Dir: t.TempDir(), MaxSize: 4 << 20}
	l := open(t, o)
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	const producers, rounds = 500, 40 // the producers alternate, so that each batch is a run
	for sequence := range uint64(rounds) {
		var tickets []*wal.Ticket
		for i := range producers {
			ticket, err := l.Submit(t.Context(), &wal.Batch{Stream: "s", ProducerID: fmt.Sprint("producer-", i),
				ProducerSequence: sequence + 1, Events: []wal.Event{event("k", "x")}})
			must(t, err)
			tickets = append(tickets, ticket)
		}
		for _, ticket := range tickets {
			_, err := ticket.Wait(t.Context())
			must(t, err)
		}
		settleAll(l, p, p.Stat().Pending)
	}
	st := l.Stat()
	if st.StateBytes > st.MaxStateBytes*3/4 {
		t.Errorf("got %+v", st)
	}
	wantKnown := func(l *wal.Log) {
		t.Helper()
		for i := range producers {
			a, err := l.Append(t.Context(), &wal.Batch{Stream: "s", ProducerID: fmt.Sprint("producer-", i),
				ProducerSequence: rounds, Events: []wal.Event{event("k", "x")}})
			if err != nil || !a.Duplicate || a.First == 0 {
				t.Fatalf("producer %d: got %+v, %v for its last batch, want where it is", i, a, err)
			}
		}
	}
	wantKnown(l)
	must(t, l.Close())
	// With a lower limit, the log evicts more runs of the producers, but not the last stored batch of any.
	o.MaxSize = wal.MinMaxSize
	l = open(t, o)
	if got := l.Stat(); got.StateBytes > got.MaxStateBytes {
		t.Errorf("got %+v with a lower maximum", got)
	}
	wantKnown(l)
	appendOne(t, l, "s", "k", "goes on")
}

func TestStream_WithoutEventsLeavesNothingBehind(t *testing.T) {
	o := wal.Options{Dir: t.TempDir(), MaxSize: wal.MinMaxSize}
	l := open(t, o)
	l.SetPolicy(func(string) wal.Policy { return wal.Policy{MaxSize: 1000} })
	before := l.Stat().StateBytes
	if got := l.Next("asked"); got != 1 {
		t.Errorf("got next %d", got)
	}
	if got := l.Appended("asked"); got != (wal.Count{}) {
		t.Errorf("got %+v appended", got)
	}
	if held, most := l.Share("asked"); held != 0 || most != 1000 {
		t.Errorf("got a share of %d of %d", held, most)
	}
	grown := l.Grown("asked")
	for _, size := range []int{2000, 1 << 20} {
		_, err := l.Append(t.Context(), &wal.Batch{Stream: "rejected", Events: []wal.Event{event("k", strings.Repeat("x", size))}})
		if !errors.Is(err, wal.ErrTooLarge) {
			t.Errorf("got %v, want ErrTooLarge", err)
		}
	}
	p, err := l.OpenCursor("parked", "d")
	must(t, err)
	p.SetLabel("file")
	sync(t, l)
	p.Close()
	sync(t, l)
	for _, s := range l.Streams() {
		if s.Name != "parked" {
			t.Errorf("got stream %+v", s)
		}
	}
	if got := l.Stat().StateBytes; got != before {
		t.Errorf("got a state of %d bytes, want %d", got, before)
	}
	must(t, l.Close())
	report := inspectLog(t, o.Dir)
	if len(report.Streams)+len(report.Cursors) > 0 {
		t.Errorf("got %+v, %+v on the disk", report.Streams, report.Cursors)
	}
	select {
	case <-grown:
		t.Error("a stream without events has grown")
	default:
	}
	if got := open(t, o).Streams(); len(got) > 0 {
		t.Errorf("got streams %+v after a restart", got)
	}
}

// The first event of an unknown stream wakes a reader that waits for it, even after appends were rejected.
func TestStream_IsAwaitedBeforeItsFirstEvent(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: wal.MinMaxSize})
	done := make(chan error)
	go func() {
		for {
			grown := l.Grown("s")
			if l.Next("s") > 1 {
				done <- nil
				return
			}
			select {
			case <-grown:
			case <-t.Context().Done():
				done <- t.Context().Err()
				return
			}
		}
	}()
	for range 10 {
		_, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", strings.Repeat("x", 1<<20))}})
		if !errors.Is(err, wal.ErrTooLarge) {
			t.Fatalf("got %v, want ErrTooLarge", err)
		}
	}
	appendOne(t, l, "s", "k", "x")
	must(t, <-done)
	if got := l.Streams(); len(got) != 1 || !slices.ContainsFunc(got, func(s wal.StreamStat) bool { return s.Name == "s" && s.Next == 2 }) {
		t.Errorf("got %+v", got)
	}
}
