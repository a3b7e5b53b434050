package wal_test

import (
	"math"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// After the loss of the newest segment, Open computes the number of offsets to skip from the length of the shortest
// event.
func TestLeastFrame_IsNoLongerThanAnyEvent(t *testing.T) {
	shortest := math.MaxInt
	for _, raw := range [][]byte{{0x18, 0x00}, {0x18, 0x01}, {0x0a, 0x00}, {0x12, 0x00}, {0x0a, 0x00, 0x12, 0x00, 0x18, 0x00}} {
		e, ok := wal.IndexEvent(raw)
		if !ok {
			t.Fatalf("%x is no event", raw)
		}
		l := open(t, wal.Options{Dir: t.TempDir()})
		_, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{e}})
		must(t, err)
		shortest = min(shortest, wal.FrameSize(&e))
	}
	for _, e := range []wal.Event{{}, {Key: "k"}, {Data: []byte("d")}, {Time: 1}} {
		shortest = min(shortest, wal.FrameSize(&e))
	}
	if shortest != wal.LeastFrame {
		t.Errorf("got %d, the shortest event takes %d bytes", wal.LeastFrame, shortest)
	}
}
