package loss_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/loss"
	"github.com/standpipe/standpipe/wal/internal/reader"
	"github.com/standpipe/standpipe/wal/internal/rowtest"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

func newCounter(l *rowtest.Row) *loss.Counter {
	rd := &reader.Reader{Segments: l.Set, End: func(string) uint64 { return uint64(len(l.Events)) + 1 }, Patience: time.Minute}
	return &loss.Counter{Segments: l.Set, Reader: rd, Closing: make(chan struct{}), Logger: hclog.NewNullLogger()}
}

// For drawn events, progress and removed segments: the lost events are those that are neither settled nor in the log.
func TestFind_CountsEventsOfRemovedSegments(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 15 {
		l := rowtest.New(t)
		for range 3 + r.IntN(6) {
			var events []segment.Event
			for range 1 + r.IntN(30) {
				events = append(events, segment.Event{Key: fmt.Sprint("k", r.IntN(20)), Data: bytes.Repeat([]byte{'x'}, r.IntN(50))})
			}
			l.Append(events)
			l.Roll()
		}
		all := uint64(len(l.Events))
		s := loss.Search{Stream: "s", Needed: segment.Run{First: math.MaxUint64, Next: math.MaxUint64}}
		for lane := range s.Lanes {
			p := segment.Progress{Checkpoint: 1 + r.Uint64N(all+1)}
			if r.IntN(2) == 0 {
				from := p.Checkpoint + 1 + r.Uint64N(10)
				p = p.With(segment.Progress{Settled: []segment.Run{{First: from, Next: from + 1 + r.Uint64N(10)}}})
			}
			s.Lanes[lane] = p
			s.Needed.First = min(s.Needed.First, p.Checkpoint)
		}
		gone := make(map[uint64]bool)
		for _, sealed := range l.Set.Sealed() {
			if r.IntN(3) > 0 {
				continue
			}
			for offset := sealed.Spans["s"].First; offset < sealed.Spans["s"].Next; offset++ {
				gone[offset] = true
			}
			look, _ := l.Set.Look()
			l.Set.Remove([]*liveset.Segment{sealed.Segment}, look)
		}
		var appended, want segment.Count
		for i := range l.Events {
			e := &l.Events[i]
			n := segment.Count{Events: 1, Bytes: uint64(len(e.Data))}
			appended.Add(n)
			switch {
			case s.Lanes[e.Lane].Done(e.Offset):
				s.Settled.Add(n)
			case gone[e.Offset]:
				want.Add(n)
			}
		}
		c := newCounter(l)
		c.Examine(&s, func() segment.Count { return appended })
		got, err := c.Find(&s)
		if err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		in := segment.Progress{Settled: s.Runs()}
		for offset := range gone {
			if offset >= s.Needed.First && !in.Done(offset) {
				t.Errorf("offset %d is gone, and in none of %s", offset, loss.Text(s.Runs()))
			}
		}
		if covered := c.Covered(&s, all+1); covered && want.Events > 0 {
			t.Errorf("the log covers a stream that has lost %d events", want.Events)
		}
		if len(gone) == 0 && !c.Covered(&s, all+1) {
			t.Error("the log does not cover a stream without a loss")
		}
	}
}

// A count ends when the log closes.
func TestUnsettled_EndsWhenTheLogCloses(t *testing.T) {
	l := rowtest.New(t)
	l.Append([]segment.Event{{Key: "k", Data: []byte("a")}})
	c := newCounter(l)
	if n, _, err := c.Unsettled("s", new([segment.Lanes]segment.Progress), 1, 2); err != nil || n != (segment.Count{Events: 1, Bytes: 1}) {
		t.Errorf("got %+v, %v, want one event", n, err)
	}
	closing := make(chan struct{})
	close(closing)
	c.Closing = closing
	if _, _, err := c.Unsettled("s", new([segment.Lanes]segment.Progress), 1, 2); !errors.Is(err, segment.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestText_IsShort(t *testing.T) {
	var runs []segment.Run
	for i := range uint64(12) {
		runs = append(runs, segment.Run{First: 10*i + 1, Next: 10*i + 3})
	}
	if got, want := loss.Text(runs[:2]), "1-2, 11-12"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := loss.Text(runs)[len(loss.Text(runs[:10])):], ", and 2 more"; got != want {
		t.Errorf("got %q at the end, want %q", got, want)
	}
}
