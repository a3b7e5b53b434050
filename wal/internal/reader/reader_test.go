package reader_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/reader"
	"github.com/standpipe/standpipe/wal/internal/rowtest"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

func newReader(l *rowtest.Row) *reader.Reader {
	return &reader.Reader{Segments: l.Set, End: func(string) uint64 { return uint64(len(l.Events)) + 1 }, Patience: time.Minute}
}

// For drawn batches, rolls, lanes and limits: the chunks have exactly the wanted events, in order.
func TestRead_ReturnsTheWantedEventsInOrder(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	l := rowtest.New(t)
	for range 12 {
		var events []segment.Event
		for range 1 + r.IntN(40) {
			events = append(events, segment.Event{Key: fmt.Sprint("k", r.IntN(30)), Data: bytes.Repeat([]byte{'x'}, r.IntN(300))})
		}
		l.Append(events)
		if r.IntN(3) == 0 {
			l.Roll()
		}
	}
	rd := newReader(l)
	for range 60 {
		lanes, from, limit := segment.LaneSet(r.Uint64()), 1+r.Uint64N(uint64(len(l.Events))), 1+r.IntN(20_000)
		var want, got []segment.Event
		for _, e := range l.Events[from-1:] {
			if lanes.Has(e.Lane) {
				want = append(want, e)
			}
		}
		for next, end := from, false; !end; {
			chunk, err := rd.Read("s", next, lanes, limit)
			if err != nil {
				t.Fatal(err)
			}
			if !chunk.End && chunk.Next <= next {
				t.Fatalf("a chunk from %d ends at %d", next, chunk.Next)
			}
			got, next, end = append(got, chunk.Events...), chunk.Next, chunk.End
		}
		if len(got) != len(want) {
			t.Fatalf("got %d events from %d, want %d", len(got), from, len(want))
		}
		for i := range want {
			if g, w := &got[i], &want[i]; g.Offset != w.Offset || g.Lane != w.Lane || g.Key != w.Key || !bytes.Equal(g.Data, w.Data) {
				t.Fatalf("got event %d with %d bytes, want %d with %d", g.Offset, len(g.Data), w.Offset, len(w.Data))
			}
		}
	}
}

// A read of a segment that was removed continues behind it.
func TestRead_ContinuesBehindARemovedSegment(t *testing.T) {
	l := rowtest.New(t)
	l.Append([]segment.Event{{Key: "k", Data: []byte("a")}, {Key: "k", Data: []byte("b")}})
	l.Roll()
	l.Append([]segment.Event{{Key: "k", Data: []byte("c")}})
	look, _ := l.Set.Look()
	l.Set.Remove([]*liveset.Segment{l.Set.Sealed()[0].Segment}, look)
	chunk, err := newReader(l).Read("s", 1, segment.AllLanes, 1<<20)
	if err != nil || len(chunk.Events) != 1 || chunk.Events[0].Offset != 3 || !chunk.End || chunk.Next != 4 {
		t.Errorf("got %+v, %v", chunk, err)
	}
}

// Await finds the lanes of a batch. Events that the log no longer holds count as settled.
func TestAwait_FindsTheLanesOfARun(t *testing.T) {
	l := rowtest.New(t)
	l.Append([]segment.Event{{Key: "k", Data: []byte("a")}})
	l.Roll()
	l.Append([]segment.Event{{Key: "k", Data: []byte("b")}, {Key: "k", Data: []byte("c")}})
	for _, run := range []segment.Run{{First: 1, Next: 4}, {First: 2, Next: 3}, {First: 3, Next: 9}} {
		w, err := newReader(l).Await("s", run)
		if err != nil {
			t.Fatal(err)
		}
		if want := run.Next > 4; w.Gone != want || w.Run != run {
			t.Errorf("run %v: got %v, gone %v, want %v", run, w.Run, w.Gone, want)
		}
	}
}
