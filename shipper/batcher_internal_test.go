package shipper

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// While the shipper finishes and no request is under way, any lane that is ready makes a batch: also on a slow link, where lanes stop
// at a window, while all requests fail, and whichever lanes are suspects. Otherwise nothing would ever be sent again.
func TestBatcher_FinishesWithALaneThatIsReady(t *testing.T) {
	seed := draw.Seed(t)
	for round := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, round))
		now := time.Now()
		shape := Shape{Framing: FramingKPL, BatchRecords: 10, MaxRecord: 1 << 20, AimRecord: 2 << 10, MaxBatch: 4 << 20, BilledStep: 1}
		bandwidth := newBandwidth()
		all := newLanes([wal.Lanes]wal.Progress{}, false, 1<<20, nil)
		b := batcher{sink: shaped{shape}, lanes: all, maxDelay: time.Second, bandwidth: &bandwidth, first: r.IntN(wal.Lanes)}
		if r.IntN(4) > 0 { // a link of any speed
			b.sizer.Failed(2<<r.IntN(20), 0, 0, 0, true)
		}
		offset := uint64(1)
		for range 1 + r.IntN(100) {
			l := all.own(uint8(r.IntN(1 + r.IntN(wal.Lanes))))
			all.push(l, &wal.Event{Offset: offset, Key: "key", Data: make([]byte, r.IntN(20))}, now)
			offset += 1 + r.Uint64N(5)
		}
		for id := range uint8(wal.Lanes) {
			l := all.own(id)
			if r.IntN(3) == 0 {
				l.suspect = 1 + r.IntN(3)
			}
			if r.IntN(3) == 0 {
				l.failures = &backoff.Failures{}
			}
		}
		d := demand{finishing: true, retrying: r.IntN(2) == 0}
		if batch, wake := b.next(now, d, false); batch == nil || batch.Empty() {
			t.Fatalf("seed %d, round %d: got no batch for %v, with %+v and a bound of %d bytes", seed, round, wake, d, b.sizer.Lower(shape.MaxBatch))
		}
	}
}
