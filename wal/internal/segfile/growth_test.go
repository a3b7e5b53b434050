package segfile_test

import (
	"math/rand/v2"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal/internal/rowtest"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// A commit makes the file grow by at most its blocks and the estimate for the last leaf, and a seal by at most SealBytes: the
// log reserves so much before it writes.
func TestGrowth_IsEstimated(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 4 {
		row := rowtest.New(t)
		for range 2 + r.IntN(5) {
			seg := row.Set.Newest()
			grows := func(what string, most int64, f func()) {
				t.Helper()
				before := seg.Used()
				f()
				if got := seg.Used() - before; got > most {
					t.Errorf("%s made the file grow by %d bytes, at most %d are reserved", what, got, most)
				}
			}
			small := 100 + r.IntN(1000)
			for range r.IntN(60) {
				most := small
				if r.IntN(10) == 0 {
					most = 300_000
				}
				e := segment.Event{Key: "k", Data: make([]byte, r.IntN(most))}
				own := segment.BlockHeader + len("s") + segment.FrameSize(&e) + segment.BlockExtra
				end := seg.End()
				grows("a commit", int64(own)+end.Size(), func() { row.Append([]segment.Event{e}) })
			}
			grows("the seal", seg.SealBytes(), row.Roll)
		}
	}
}
