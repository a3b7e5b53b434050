package wal_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// The events that Read returns occupy about as much memory as Memory counts for them, and about the requested number of
// bytes, for events of any content and shape.
func TestRead_TakesTheMemoryThatItCounts(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 9))
		log, err := wal.Open(context.Background(), wal.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		names, bytes, data := r.IntN(100), 1+r.IntN(1000), r.IntN(1000)
		const limit = 8 << 20
		for stored := 0; stored < 2*limit; {
			b := &wal.Batch{Stream: "s"}
			for range 20 {
				e := wal.Event{Key: fmt.Sprint("k", r.IntN(100)), Data: make([]byte, data), Time: 1, Attributes: make(map[string]string)}
				for i := range r.IntN(names + 1) {
					e.Attributes[fmt.Sprint("name", i)] = strings.Repeat("v", r.IntN(bytes))
				}
				stored += e.Memory()
				b.Events = append(b.Events, e)
			}
			if _, err := log.Append(context.Background(), b); err != nil {
				t.Fatal(err)
			}
		}
		before := heap()
		chunk, err := log.Read("s", 1, wal.AllLanes, limit)
		if err != nil {
			t.Fatal(err)
		}
		got, want := heap()-before, 0
		for i := range chunk.Events {
			want += chunk.Events[i].Memory()
		}
		t.Logf("%d events with up to %d attributes of up to %d bytes and %d of data: %d bytes of heap, counted as %d", len(chunk.Events), names, bytes, data, got, want)
		if got > int64(want)*5/4+1<<20 {
			t.Errorf("%d bytes of heap, counted as %d", got, want)
		}
		if want > limit*5/4 {
			t.Errorf("a read of %d bytes counts %d", limit, want)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}
}
