package wal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// A destination has delivered events that it has not settled, and some of these cannot be read any more. They count as
// delivered. Unreadable events that it has not delivered count as dropped.
func TestLoss_DeliveredEventsCountAsDelivered(t *testing.T) {
	seed := draw.Seed(t)
	for round := range uint64(10) {
		deliveredLoss(t, rand.New(rand.NewPCG(seed, round)))
	}
}

func deliveredLoss(t *testing.T, r *rand.Rand) {
	const events, size = 80, 1000
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10, MaxSize: 16 << 20}
	l := open(t, o)
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	payload := func(i uint64) string { return fmt.Sprintf("event %0*d", size-6, i) }
	for i := range uint64(events) {
		appendOne(t, l, "s", fmt.Sprint("k", r.IntN(8)), payload(i+1))
	}
	all := readAll(t, l, "s", 1, wal.AllLanes)
	dead := all[r.IntN(events)] // settled ahead of the others
	must(t, p.Settle(wal.Settlement{
		Lanes: map[uint8]wal.Progress{dead.Lane: {Settled: []wal.Run{{First: dead.Offset, Next: dead.Offset + 1}}}},
		Add:   wal.Ledger{Dead: countOf(&dead)},
	}))
	sealed := inspectLog(t, o.Dir).Segments[0].Streams[0].Held.Events
	must(t, l.Close())
	damaged := make(map[uint64]bool)
	edit(t, segmentFiles(t, o.Dir)[0], func(b []byte) []byte {
		for range 1 + r.IntN(6) {
			offset := 1 + r.Uint64N(sealed)
			b = flipped(b, []byte(payload(offset)), size/2, 1)
			damaged[offset] = true
		}
		return b
	})
	l = open(t, o)
	defer l.Close()
	p, err = l.OpenCursor("s", "d")
	must(t, err)
	delivered := 1 + r.Uint64N(events)
	var want wal.Count
	for offset := range damaged {
		if offset >= delivered && offset != dead.Offset {
			want.Add(wal.Count{Events: 1, Bytes: size})
		}
	}
	for from := uint64(1); from < l.Next("s"); {
		held := &wal.Held{}
		if from < delivered {
			held.Delivered = delivered
		}
		from = settleRead(t, l, p, from, held)
	}
	st := p.Stat()
	if st.Pending.Events > 0 || st.Dropped[wal.DroppedCorrupt] != want || st.Dead != countOf(&dead) {
		t.Errorf("got %+v, want %+v dropped of the damaged events %v, dead is %d, delivered are those before %d", st, want, damaged, dead.Offset, delivered)
	}
}

// settleRead reads from an offset on, gives up a corrupt part, and settles the events as delivered. It returns the offset
// for the next read.
func settleRead(t *testing.T, l *wal.Log, p *wal.Cursor, from uint64, held *wal.Held) (next uint64) {
	t.Helper()
	chunk, err := l.Read("s", from, wal.AllLanes, 5000)
	next = chunk.Next
	var corrupt *wal.CorruptError
	if errors.As(err, &corrupt) {
		next, err = p.Lose(corrupt, next, held)()
	}
	must(t, err)
	lanes, s := p.Lanes(), wal.Settlement{Lanes: make(map[uint8]wal.Progress)}
	for i := range chunk.Events {
		if e := &chunk.Events[i]; !lanes[e.Lane].Done(e.Offset) {
			s.Add.Delivered.Add(countOf(e))
		}
	}
	for lane := range uint8(wal.Lanes) {
		s.Lanes[lane] = wal.Progress{Checkpoint: next}
	}
	if err := p.Settle(s); err != nil && !errors.Is(err, wal.ErrUnsettled) {
		t.Error(err)
	}
	return next
}
