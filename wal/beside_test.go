package wal_test

import (
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// The index of the newest segment had a stream, from its second part on, under a name that lay in the
// committer's buffer. These tests write over that.

// manyBlocks is more blocks than go into a part of the index: each takes 2 of its 1,024 bytes.
const manyBlocks = 600

// Readers took the blocks for missing, and the events were counted as dropped.
func TestAStreamIsReadWholeThoughAnotherAppends(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir})
	for range manyBlocks {
		appendOne(t, l, "a", "k", "")
	}
	appendOne(t, l, "b", "k", "")
	wantWhole(t, l, "a", manyBlocks)
	appendOne(t, l, "a", "k", "")
	wantWhole(t, l, "a", manyBlocks+1)
	wantSound(t, dir)
}

// Readers passed over all events before a commit that began with another stream's, and destinations
// stood still with some pending and no error.
func TestAStreamIsReadWholeThoughItSharesACommit(t *testing.T) {
	dir := t.TempDir()
	gate := make(chan struct{}, manyBlocks+1)
	l := open(t, wal.Options{Dir: dir}.WithFaults(func() error { <-gate; return nil }, nil))
	for range manyBlocks {
		gate <- struct{}{}
		appendOne(t, l, "a", "k", "")
	}
	var tickets []*wal.Ticket
	for _, stream := range []string{"b", "b", "a"} { // while the first is committed, the others gather
		ticket, err := l.Submit(t.Context(), &wal.Batch{Stream: stream, Events: []wal.Event{event("k", "")}})
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
	}
	close(gate)
	for _, ticket := range tickets {
		if _, err := ticket.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wantWhole(t, l, "a", manyBlocks+1)
	wantSound(t, dir)
}

// wantWhole reads a stream of which nothing is truncated.
func wantWhole(t *testing.T, l *wal.Log, stream string, events int) {
	t.Helper()
	got := readAll(t, l, stream, 1, wal.AllLanes)
	if len(got) != events || got[0].Offset != 1 {
		t.Fatalf("got %d events of stream %q, want %d from offset 1 on", len(got), stream, events)
	}
}
