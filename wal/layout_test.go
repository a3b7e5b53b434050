package wal_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal"
)

func TestLayout_LargeAndSmallBatchesShareACommit(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir, CommitLinger: 50 * time.Millisecond})
	var want []wal.Event
	for round := range 2 {
		var tickets []*wal.Ticket
		for i, events := range []int{1, 300, 2, 1, 900, 100, 1} {
			batch := numberedBatch(fmt.Sprintf("round %d, batch %d", round, i), events)
			ticket, err := l.Submit(t.Context(), batch)
			if err != nil {
				t.Fatal(err)
			}
			tickets, want = append(tickets, ticket), append(want, batch.Events...)
		}
		for _, ticket := range tickets {
			if _, err := ticket.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantRead(t, l, want)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	wantRead(t, open(t, wal.Options{Dir: dir}), want)
}

func numberedBatch(name string, events int) *wal.Batch {
	batch := &wal.Batch{Stream: "s"}
	for i := range events {
		key := fmt.Sprintf("%s, event %d", name, i)
		batch.Events = append(batch.Events, event(key, strings.Repeat(key, i%40)))
	}
	return batch
}

func wantRead(t *testing.T, l *wal.Log, want []wal.Event) {
	t.Helper()
	got := readAll(t, l, "s", 1, wal.AllLanes)
	if len(got) != len(want) {
		t.Fatalf("got %d events, want %d", len(got), len(want))
	}
	payload := uint64(0)
	for i, e := range got {
		payload += uint64(len(e.Data))
		if e.Offset != uint64(i+1) || e.Key != want[i].Key || !bytes.Equal(e.Data, want[i].Data) || e.Lane != wal.LaneOf(e.Key) {
			t.Fatalf("got %d: %q with %d bytes, want %d: %q with %d", e.Offset, e.Key, len(e.Data), i+1, want[i].Key, len(want[i].Data))
		}
	}
	if got, want := l.Appended("s"), (wal.Count{Events: uint64(len(want)), Bytes: payload}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
