package shipper_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// A destination with an order for each key has stored events of one key that are newer than rejected events of another.
// It then becomes a destination with one order for all keys, under the same name, or the other way round. Killed at any
// moment, it sends no stored event again, and the ledger adds up.
func TestDestination_ChangesItsShape(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { changeShape(t, rand.New(rand.NewPCG(seed, 3))) })
		})
	}
}

func changeShape(t *testing.T, r *rand.Rand) {
	keyed, whole := oneKeyShape(), wideFile()
	keyed.AimBatch, keyed.MaxBatch = 2<<10, 2<<10
	whole.AimRecord, whole.MaxBatch = 40, 40 // small, so that the change comes between two requests
	shape := keyed
	keys := keysOfLanes(2+r.IntN(6), 1+r.IntN(3))
	refused := ""
	svc := newService(t, shape)
	svc.delay = 500 * time.Millisecond
	svc.faults = func(r *rand.Rand, batch []shipper.Record) (f fault) {
		if svc.shape.WholeOrder && r.IntN(2) == 0 { // a file stores a whole batch or nothing
			return fault{err: failure(shipper.Transient, "500")}
		}
		f.failed = make(map[int]*shipper.Error)
		for i, record := range batch {
			if record.Key == refused && !svc.shape.WholeOrder {
				f.failed[i] = failure(shipper.Throttled, "slow")
			}
		}
		return f
	}
	rig := &rig{t: t, dir: fastDir(t), svc: svc}
	rig.opts = shipper.Options{Memory: 16 << 10, Unpaced: true, Retry: shipper.Retry{Max: time.Second}}
	rig.log, rig.dead = openLog(t, rig.dir), deadletter.Open(rig.dir, deadletter.Options{})
	rig.src = &source{t: t, log: rig.log, n: make(map[string]int)}
	rig.start()
	for range 8 {
		svc.mu.Lock()
		refused = keys[r.IntN(len(keys))]
		svc.mu.Unlock()
		for range 10 {
			rig.src.send(keys[r.IntN(len(keys))], 1+r.IntN(20))
		}
		for range 2 {
			time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
			synctest.Wait()
			place := rig.place()
			ledgerAdds(t, "running", place.Stat(), svc)
			killAndFinish(t, rig, whole, nil)
			killAndFinish(t, rig, keyed, nil)
		}
		if r.IntN(2) == 0 {
			rig.ship.Halt(context.Background())
			<-rig.done
			if shape.WholeOrder = !shape.WholeOrder; shape.WholeOrder {
				shape = whole
			} else {
				shape = keyed
			}
			svc.shape = shape
			rig.start()
		}
	}
	svc.mu.Lock()
	refused = ""
	svc.mu.Unlock()
	rig.finish()
	if svc.again > 0 {
		t.Errorf("%d events arrived twice", svc.again)
	}
}

// keysOfLanes returns count keys that lie in at most the given number of lanes.
func keysOfLanes(count, lanes int) (keys []string) {
	for i := 0; len(keys) < count; i++ {
		if key := fmt.Sprint("k", i); int(wal.LaneOf(key)) < lanes {
			keys = append(keys, key)
		}
	}
	return keys
}
