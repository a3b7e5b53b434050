package wal_test

import (
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// Once, the index of the newest segment kept the name of a stream, from the second part of the stream's index on, in
// the committer's buffer. These tests overwrite that buffer.

// manyBlocks is more blocks than fit into one part of the index: each block takes 2 of the part's 1,024 bytes.
const manyBlocks = 600

// The symptom was that readers found blocks missing, and their events were counted as dropped.
func TestRead_WholeStreamWhileAnotherAppends(t *testing.T) {
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

// The symptom was that readers skipped all events before a commit that began with another stream's events. Destinations
// then made no progress, with events pending and without an error.
func TestRead_WholeStreamThatSharesACommit(t *testing.T) {
	dir := t.TempDir()
	gate := make(chan struct{}, manyBlocks+1)
	l := open(t, wal.Options{Dir: dir}.WithFaults(func() error { <-gate; return nil }, nil))
	for range manyBlocks {
		gate <- struct{}{}
		appendOne(t, l, "a", "k", "")
	}
	var tickets []*wal.Ticket
	for _, stream := range []string{"b", "b", "a"} { // while the first is being committed, the others queue
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

// wantWhole reads a stream that has not been truncated.
func wantWhole(t *testing.T, l *wal.Log, stream string, events int) {
	t.Helper()
	got := readAll(t, l, stream, 1, wal.AllLanes)
	if len(got) != events || got[0].Offset != 1 {
		t.Fatalf("got %d events of stream %q, want %d from offset 1 on", len(got), stream, events)
	}
}
