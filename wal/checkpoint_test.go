package wal_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// A checkpoint of many destinations takes several commits, between which appends are stored, and Sync waits for all.
func TestCheckpoint_OfManyPlacesIsSeveralCommits(t *testing.T) {
	const places = 4000
	var commits atomic.Int64
	o := wal.Options{Dir: t.TempDir()}.WithFaults(func() error { commits.Add(1); return nil }, nil)
	l := open(t, o)
	for i := range places {
		p, err := l.Place(fmt.Sprint("stream-", i), "d")
		must(t, err)
		p.Settle(wal.Settlement{State: []byte(fmt.Sprint("state-", i))})
	}
	sync(t, l)
	if got := commits.Load(); got < 2 || got > 20 {
		t.Errorf("got %d commits for %d places, want a few", got, places)
	}
	l = open(t, wal.Options{Dir: copyInstant(t, o.Dir)})
	for i := range places {
		found := l.Places(fmt.Sprint("stream-", i))
		if want := fmt.Sprint("state-", i); len(found) != 1 || string(found[0].State()) != want {
			t.Fatalf("stream %d: got %d places after a crash, want one of state %q", i, len(found), want)
		}
	}
}

// Of two settlements of a destination the later is on the disk when Sync returns, whichever commit has it.
func TestCheckpoint_HasTheLastSettlement(t *testing.T) {
	o := wal.Options{Dir: t.TempDir()}
	l := open(t, o)
	var places []*wal.Place
	for i := range 2000 {
		p, err := l.Place(fmt.Sprint("stream-", i), "d")
		must(t, err)
		places = append(places, p)
	}
	for round := range 5 {
		state := fmt.Sprint("round-", round)
		for _, p := range places {
			p.Settle(wal.Settlement{State: []byte(state)})
		}
		if round%2 == 0 {
			appendOne(t, l, "stream-0", "k", "x") // may take a part of them along
			continue
		}
		sync(t, l)
		crashed := open(t, wal.Options{Dir: copyInstant(t, o.Dir)})
		for i := range places {
			if got := string(crashed.Places(fmt.Sprint("stream-", i))[0].State()); got != state {
				t.Fatalf("stream %d: got %q after a crash, want %q", i, got, state)
			}
		}
		must(t, crashed.Close())
	}
}
