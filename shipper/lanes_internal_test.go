package shipper

import (
	"math/rand/v2"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// Lanes that begin alike are one until an event of theirs comes. Each of the log's lanes always belongs to exactly one, with
// the progress that the cursor has for it.
func TestLanes_AtRestAreOne(t *testing.T) {
	r := rand.New(rand.NewPCG(draw.Seed(t), 0))
	for range 100 {
		var start [wal.Lanes]wal.Progress
		most, alone := 1+r.IntN(4), r.IntN(10)
		for id := range start {
			start[id].Checkpoint = uint64(1 + r.IntN(most))
		}
		for _, id := range r.Perm(wal.Lanes)[:alone] {
			start[id].Settled = []wal.Run{{First: 10, Next: 20}}
		}
		s := newLanes(start, false, 1<<20, nil)
		if n := distinct(t, s, &start); n > most+alone {
			t.Fatalf("got %d lanes for %d checkpoints and %d lanes with runs", n, most, alone)
		}
		owned := 0
		for _, id := range r.Perm(wal.Lanes) {
			l := s.of(&wal.Event{Lane: uint8(id)})
			if owned++; l.set != wal.LaneSet(0).With(uint8(id)) || s.of(&wal.Event{Lane: uint8(id)}) != l {
				t.Fatalf("got a lane of %b for an event of lane %d", l.set, id)
			}
			if n := distinct(t, s, &start); n > owned+most+alone {
				t.Fatalf("got %d lanes after events of %d", n, owned)
			}
		}
	}
}

// distinct returns the number of lanes, after it has checked that each stands for those of the log's lanes that it should.
func distinct(t *testing.T, s *lanes, start *[wal.Lanes]wal.Progress) int {
	t.Helper()
	sets := make(map[*lane]wal.LaneSet)
	for id, l := range s.all {
		sets[l] = sets[l].With(uint8(id))
		if !l.progress.Equal(start[id]) || !l.published.Equal(start[id]) || l.next != start[id].Checkpoint {
			t.Fatalf("got progress %v of lane %d, want %v", l.progress, id, start[id])
		}
	}
	for l, set := range sets {
		if l.set != set {
			t.Fatalf("got a lane that stands for %b, want %b", l.set, set)
		}
	}
	return len(sets)
}
