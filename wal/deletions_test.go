//go:build linux

package wal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// A checkpoint of a full log gets the space that it needs, no matter how many entries of the state are due for
// deletion. Here these are the entries of evicted producers; other entries on the same pages stay. The log deletes them
// later.
func TestDeletions_LeaveTheCheckpointItsRoom(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	volume, err := newMemory(t, "size=32m")
	if err != nil {
		notTested(t, "a small volume, since this process may not mount one", err)
		return
	}
	synctest.Test(t, func(t *testing.T) { leaveTheCheckpointItsRoom(t, filepath.Join(volume.Mount, "data"), r) })
}

func leaveTheCheckpointItsRoom(t *testing.T, dir string, r *rand.Rand) {
	const idle = time.Hour
	o := wal.Options{Dir: dir, ProducerIdle: idle}
	l := open(t, o)
	defer l.Close()
	cursor, err := l.OpenCursor("s", "archive")
	must(t, err)
	producers := 7_000 + r.IntN(1_000)
	batch := func(i int) *wal.Batch {
		return &wal.Batch{Stream: "s", ProducerID: fmt.Sprintf("producer-%0191d", i), ProducerSequence: 1, Events: []wal.Event{event("k", "v")}}
	}
	appendAll(t, l, producers, batch)
	fill(t, l, "s", 2_000+r.IntN(6_000), 1)

	// Resend the batches of some producers, which renews these producers, before the others are evicted.
	const every = 2
	time.Sleep(idle / 2)
	for i := 0; i < producers; i += every {
		if _, err := l.Append(t.Context(), batch(i)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(idle * 3 / 4)
	if _, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", strings.Repeat("x", 4<<20))}}); !errors.Is(err, wal.ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}

	settleAll(l, cursor, cursor.Stat().Pending)
	must(t, l.Sync(t.Context()))
	fresh := &wal.Batch{Stream: "s", ProducerID: "fresh", ProducerSequence: 1, Events: []wal.Event{event("k", "v")}}
	_, err = l.Append(t.Context(), fresh)
	must(t, err)
	must(t, l.Close())
	wantSound(t, o.Dir)

	o.ProducerIdle = 24 * time.Hour
	l = open(t, o)
	defer l.Close()
	if a, err := l.Append(t.Context(), fresh); err != nil || !a.Duplicate {
		t.Errorf("got %+v, %v, want a duplicate", a, err)
	}
	for i := range producers {
		a, err := l.Append(t.Context(), batch(i))
		must(t, err)
		if kept := i%every == 0; a.Duplicate != kept {
			t.Fatalf("producer %d: got %+v, want a duplicate: %t", i, a, kept)
		}
	}
}

// appendAll appends one batch of each producer.
func appendAll(t *testing.T, l *wal.Log, producers int, batch func(i int) *wal.Batch) {
	t.Helper()
	var tickets []*wal.Ticket
	for i := range producers {
		ticket, err := l.Submit(t.Context(), batch(i))
		must(t, err)
		tickets = append(tickets, ticket)
	}
	for _, ticket := range tickets {
		_, err := ticket.Wait(t.Context())
		must(t, err)
	}
}
