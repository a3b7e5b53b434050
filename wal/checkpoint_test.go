package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// A checkpoint of many destinations takes several commits. Appends are stored between them, and Sync waits for all of
// them.
func TestCheckpoint_OfManyCursorsIsSeveralCommits(t *testing.T) {
	const places = 4000
	var commits atomic.Int64
	o := wal.Options{Dir: t.TempDir()}.WithFaults(func() error { commits.Add(1); return nil }, nil)
	l := open(t, o)
	for i := range places {
		p, err := l.OpenCursor(fmt.Sprint("stream-", i), "d")
		must(t, err)
		p.Settle(wal.Settlement{State: []byte(fmt.Sprint("state-", i))})
	}
	sync(t, l)
	if got := commits.Load(); got < 2 || got > 20 {
		t.Errorf("got %d commits for %d places, want a few", got, places)
	}
	l = open(t, wal.Options{Dir: copyInstant(t, o.Dir)})
	for i := range places {
		found := l.Cursors(fmt.Sprint("stream-", i))
		if want := fmt.Sprint("state-", i); len(found) != 1 || string(found[0].State()) != want {
			t.Fatalf("stream %d: got %d places after a crash, want one of state %q", i, len(found), want)
		}
	}
}

// When Sync returns, the later of a destination's two settlements is on disk, no matter which commit stored it.
func TestCheckpoint_HasTheLastSettlement(t *testing.T) {
	o := wal.Options{Dir: t.TempDir()}
	l := open(t, o)
	var places []*wal.Cursor
	for i := range 2000 {
		p, err := l.OpenCursor(fmt.Sprint("stream-", i), "d")
		must(t, err)
		places = append(places, p)
	}
	for round := range 5 {
		state := fmt.Sprint("round-", round)
		for _, p := range places {
			p.Settle(wal.Settlement{State: []byte(state)})
		}
		if round%2 == 0 {
			appendOne(t, l, "stream-0", "k", "x") // may store some of the settlements with it
			continue
		}
		sync(t, l)
		crashed := open(t, wal.Options{Dir: copyInstant(t, o.Dir)})
		for i := range places {
			if got := string(crashed.Cursors(fmt.Sprint("stream-", i))[0].State()); got != state {
				t.Fatalf("stream %d: got %q after a crash, want %q", i, got, state)
			}
		}
		must(t, crashed.Close())
	}
}

// A checkpoint that failed for lack of space is made up for by the next one, even if no destination settles another
// event.
func TestCheckpoint_ThatFoundNoSpaceIsMadeUpFor(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	short := atomic.Int32{}
	o := wal.Options{Dir: t.TempDir()}
	l := open(t, o.WithFaults(func() error {
		if short.Add(-1) >= 0 {
			return wal.ErrNoSpace
		}
		return nil
	}, nil))
	names := []string{"a", "b", "c"}
	for range 10 + r.IntN(10) {
		appendOne(t, l, "s", "k", "x")
	}
	want := make(map[string]uint64)
	for _, name := range names {
		_, err := l.OpenCursor("s", name)
		must(t, err)
	}
	sync(t, l)
	short.Store(1 + r.Int32N(3))
	for _, p := range l.Cursors("s") {
		next := 2 + r.Uint64N(9)
		want[p.Name()] = next
		settleUpTo(p, next, wal.Count{Events: next - 1, Bytes: next - 1})
	}
	for range 4 { // one more time than space is short
		if err := l.Sync(t.Context()); err != nil && !errors.Is(err, wal.ErrFull) {
			t.Fatalf("got %v, want ErrFull", err)
		}
	}
	sync(t, l)
	must(t, l.Close())
	l = open(t, o)
	for _, p := range l.Cursors("s") {
		if got := p.Stat(); got.Checkpoint != want[p.Name()] || got.Delivered.Events != want[p.Name()]-1 {
			t.Errorf("%s: got %+v after a restart, want checkpoint %d", p.Name(), got, want[p.Name()])
		}
	}
}

// A start writes nothing for cursors that have not moved: their entries are on the disk.
func TestCheckpoint_StartWritesNoCursor(t *testing.T) {
	o := wal.Options{Dir: t.TempDir()}
	l := open(t, o)
	for _, stream := range []string{"a", "b", "parked"} {
		p, err := l.OpenCursor(stream, "d")
		must(t, err)
		appendOne(t, l, stream, "k", "x")
		settleTo(t, p, 2, wal.Ledger{Delivered: wal.Count{Events: 1, Bytes: 1}})
		if stream == "parked" {
			p.Park()
		}
	}
	must(t, l.Close())
	newest := segmentFiles(t, o.Dir)[0]
	before, err := os.ReadFile(newest)
	must(t, err)
	l = open(t, o)
	defer l.Close()
	if _, dirty := l.StreamsInMemory(); dirty {
		t.Error("a cursor waits for a checkpoint after a start")
	}
	for _, stream := range []string{"a", "b"} {
		_, err := l.OpenCursor(stream, "d")
		must(t, err)
	}
	sync(t, l)
	after, err := os.ReadFile(newest)
	must(t, err)
	if len(after) < len(before) || !bytes.Equal(after[:len(before)], before) {
		t.Error("the start has written to the newest segment")
	}
}
