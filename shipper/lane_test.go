package shipper_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// fullGraveyard is a dead-letter store that fails the given number of times before it stores dead letters.
type fullGraveyard struct {
	*deadletter.Queue
	fails  atomic.Int64
	buried atomic.Int64
}

func (g *fullGraveyard) Put(d deadletter.Letter) error {
	if g.fails.Add(-1) >= 0 {
		return errors.New("no space left on device")
	}
	g.buried.Add(1)
	return g.Queue.Put(d)
}

// A rejected event that can't be stored as a dead letter yet stays the first of its lane, and pending. Once it can be
// stored, it is stored exactly once.
func TestPoison_StaysUntilItIsADeadLetter(t *testing.T) {
	for seed := range int64(6) {
		synctest.Test(t, func(t *testing.T) {
			svc := newService(t, kinesisShape())
			r := &rig{t: t, dir: fastDir(t), svc: svc}
			r.log, r.dead = openLog(t, r.dir), deadletter.Open(r.dir, deadletter.Options{})
			r.src = &source{t: t, log: r.log, n: make(map[string]int)}
			graves := &fullGraveyard{Queue: r.dead}
			graves.fails.Store(1 + seed)
			r.opts.Dead, r.opts.Retry.Max = graves, time.Minute
			svc.refused["k 1"] = true
			r.start()
			r.src.send("k", 5)
			place := r.place()
			for graves.fails.Load() > 0 && !t.Failed() {
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
				if st := place.Stat(); graves.buried.Load() == 0 && (st.Dead.Events != 0 || st.Checkpoint != 1 || svc.arrived() > 0) {
					t.Errorf("%d dead, checkpoint %d and %d events arrived while the first could not be kept", st.Dead.Events, st.Checkpoint, svc.arrived())
				}
			}
			st := r.finish()
			if st.Dead.Events != 1 || graves.buried.Load() != 1 {
				t.Errorf("%d events are dead and %d were kept, want 1", st.Dead.Events, graves.buried.Load())
			}
		})
	}
}

// A destination goes down while much of a backlog is in memory. Events that are evicted then, beside the events of a
// request, are read again, all of them.
func TestMemory_ForgetsBesideARequestUnderWay(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 15))
			svc := newService(t, kinesisShape())
			svc.delay = time.Duration(5+r.IntN(15)) * time.Millisecond
			began := time.Now()
			svc.faults = func(*rand.Rand, []shipper.Record) (f fault) {
				if time.Since(began) < 10*time.Second {
					f.err = failure(shipper.Transient, "connection")
				}
				return f
			}
			rig := &rig{t: t, svc: svc}
			rig.opts = shipper.Options{Memory: 8 << 20, Unpaced: true, Retry: shipper.Retry{Initial: time.Millisecond, Max: time.Second}}
			rig.inMemory()
			keys := 4 + r.IntN(20)
			for range 8 {
				rig.src.sendLong(1000, 500+r.IntN(200), keys)
			}
			rig.start()
			time.Sleep(5 * time.Second) // during Finish it would not pause between two reads
			rig.finish()
		})
	}
}

// A key is rejected for hours in a lane that is busy with another key. The lane's progress lists no more than the first
// request had: nothing newer is sent before.
func TestMark_IsNoLongerThanABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := keysOfLanes(2, 1)
		svc := newService(t, kinesisShape())
		held, stuck := 0, true
		svc.faults = func(_ *rand.Rand, batch []shipper.Record) (f fault) {
			events := 0
			f.failed = make(map[int]*shipper.Error)
			for i, record := range batch {
				events += record.Events
				if record.Key == keys[0] && stuck {
					f.failed[i] = failure(shipper.Transient, "slow")
				}
			}
			if held == 0 {
				held = events
			}
			return f
		}
		r := newRig(t, svc)
		place := r.place()
		for range 100 {
			r.src.send(keys[0], 1)
			r.src.send(keys[1], 1)
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		runs := place.Lanes()[wal.LaneOf(keys[0])].Settled
		svc.mu.Lock()
		if len(runs) == 0 || len(runs) > held {
			t.Errorf("%d runs beyond the checkpoint, want at most the %d events of the first request", len(runs), held)
		}
		stuck = false
		svc.mu.Unlock()
		r.finish()
	})
}

// The request of one hot key hangs, and more of its events are in the log than fit in memory. The events of every other
// key arrive.
func TestMemory_IsNotOneLanesAlone(t *testing.T) {
	for _, memory := range []int{64 << 10, 256 << 10, 1 << 20} {
		synctest.Test(t, func(t *testing.T) {
			svc := newService(t, kinesisShape())
			hot := &hotKey{service: svc, key: "hot", hang: make(chan struct{})}
			r := &rig{t: t, svc: svc, sink: hot}
			r.opts = shipper.Options{Memory: memory, Unpaced: true, Retry: shipper.Retry{Timeout: time.Hour}}
			r.inMemory()
			r.start()
			for range 4 * memory / 40 / 100 {
				r.src.send("hot", 100)
			}
			time.Sleep(10 * time.Second)
			keys := keysBeside("hot", 63)
			for i := range 4 * memory / 40 / 100 {
				r.src.send(keys[i%len(keys)], 100)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			svc.mu.Lock()
			for _, key := range keys {
				if got, want := svc.seen[key], r.src.n[key]; got != want {
					t.Errorf("memory %d: %d of %d events of key %q arrived beside a hot one that hangs", memory, got, want, key)
				}
			}
			svc.mu.Unlock()
			close(hot.hang)
			r.finish()
		})
	}
}

// hotKey is a service that does not respond to requests with events of one key.
type hotKey struct {
	*service
	key  string
	hang chan struct{}
}

func (s *hotKey) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	for _, r := range batch {
		if r.Key == s.key {
			<-s.hang
		}
	}
	return s.service.Send(ctx, batch)
}

// keysBeside returns the given number of keys that lie in other lanes than key.
func keysBeside(key string, count int) (keys []string) {
	for i := 0; len(keys) < count; i++ {
		if k := fmt.Sprint("b", i); wal.LaneOf(k) != wal.LaneOf(key) {
			keys = append(keys, k)
		}
	}
	return keys
}
