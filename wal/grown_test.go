package wal_test

import (
	"testing"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// A stream is dropped because its first batch is rejected, while readers begin to wait for its first event.
func TestGrown_StreamIsDroppedMeanwhile(t *testing.T) {
	l := testkit.OpenLog(t, wal.Options{})
	l.SetPolicy(func(string) wal.Policy { return wal.Policy{MaxSize: 1} })
	batch := &wal.Batch{Stream: "s", Events: []wal.Event{{Key: "k", Data: []byte("data")}}}
	rejected := make(chan struct{})
	go func() {
		defer close(rejected)
		for range 30_000 {
			if _, err := l.Submit(t.Context(), batch); err == nil {
				t.Error("a batch is stored")
			}
		}
	}()
	grown := make(map[<-chan struct{}]bool)
	for waits := true; waits; {
		select {
		case <-rejected:
			waits = false
		default:
			grown[l.Grown("s")] = true
		}
	}
	l.SetPolicy(func(string) wal.Policy { return wal.Policy{} })
	_, err := l.Append(t.Context(), batch)
	testkit.Must(t, err)
	lost := 0
	for g := range grown {
		select {
		case <-g:
		default:
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d waits go on after an append", lost, len(grown))
	}
}
