package shipper_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// A backlog goes through a slow link: at any time, the newest event that has arrived and the oldest that has not are as far
// apart as a request is long, which takes up to six seconds, whatever their keys.
func TestCatchUp_KeysStayTogether(t *testing.T) {
	for seed := range uint64(13) {
		drawn := rand.New(rand.NewPCG(seed, 76))
		rate := []int{2_000, 8_000, 32_000, 64_000}[drawn.IntN(4)]
		shape := []shipper.Shape{kinesisShape(), firehoseShape()}[drawn.IntN(2)]
		shape.BatchRecords, shape.MaxBatch, shape.AimBatch, shape.MaxRecord, shape.AimRecord, shape.RecordEvents = 500, 4<<20, 4<<20, 64<<10, 24<<10, 0
		keys, size := 10+drawn.IntN(300), 100+drawn.IntN(300)
		var catchUp shipper.CatchUp
		if seed%2 == 1 {
			catchUp.FreshShare = 0.1 + drawn.Float64()/2
		}
		bandwidth := int64(0)
		if drawn.IntN(2) == 0 {
			bandwidth = int64(rate)
		}
		name := fmt.Sprintf("seed %d: %d bytes/s, limit %d, %d keys, %d bytes, share %.2f", seed, rate, bandwidth, keys, size, catchUp.FreshShare)
		var most int
		synctest.Test(t, func(t *testing.T) { most = driftOf(t, shape, drawn, rate, bandwidth, keys, size, catchUp) })
		t.Logf("%s: %d bytes apart, %.1f s", name, most, float64(most)/float64(rate))
		if limit := 7*rate + 16<<10; most > limit {
			t.Errorf("%s: events of the backlog arrived %d bytes apart, want at most %d", name, most, limit)
		}
	}
}

// driftOf ships a backlog that takes the link two minutes. It returns the largest distance, in bytes of payload, from the oldest event that
// had not arrived to the newest that had.
func driftOf(t *testing.T, shape shipper.Shape, drawn *rand.Rand, rate int, bandwidth int64, keys, size int, catchUp shipper.CatchUp) (most int) {
	svc := newService(t, shape)
	svc.gapped = catchUp != shipper.CatchUp{}
	place := make(map[string]int) // in the log, by key and number
	var missing []bool
	oldest, newest, backlog := 0, 0, 0
	svc.landing = func(_ shipper.Record, keys map[string][]string) {
		for key, payloads := range keys {
			for _, p := range payloads {
				var n int
				fmt.Sscanf(p, key+" %d", &n)
				at := place[fmt.Sprint(key, " ", n)]
				if missing[at] = false; at < backlog {
					newest = max(newest, at)
				}
			}
		}
	}
	r := &rig{t: t, svc: svc, sink: &narrowband{service: svc, rate: rate, line: make(chan struct{}, 1)}}
	r.opts = shipper.Options{CatchUp: catchUp, Link: shipper.NewLink(0), Retry: shipper.Retry{Max: 2 * time.Second}}
	if bandwidth > 0 {
		r.opts.Bandwidth = shipper.NewLink(bandwidth)
	}
	r.inMemory()
	produce := func(key string) {
		svc.mu.Lock()
		place[fmt.Sprint(key, " ", r.src.n[key]+1)] = len(missing)
		missing = append(missing, true)
		svc.mu.Unlock()
		r.src.append(key, 1, size)
	}
	for range 90 * rate / size {
		produce(fmt.Sprint("k", min(drawn.IntN(keys), drawn.IntN(keys)))) // some keys have far more events
	}
	backlog = len(missing)
	time.Sleep(time.Minute)
	r.start()
	for began := time.Now(); oldest < backlog && time.Since(began) < time.Hour; time.Sleep(100 * time.Millisecond) {
		svc.mu.Lock()
		for oldest < backlog && !missing[oldest] {
			oldest++
		}
		most = max(most, (newest-oldest)*size)
		svc.mu.Unlock()
		if drawn.IntN(20) == 0 {
			produce(fmt.Sprint("f", drawn.IntN(keys)))
		}
	}
	r.finish()
	return most
}

// One key of a backlog fails, record by record. On a slow link the others arrive nearly as fast as without it.
func TestSlowLink_AFailingLaneHoldsBackNoOther(t *testing.T) {
	for _, class := range []shipper.Class{shipper.Throttled, shipper.Transient} {
		synctest.Test(t, func(t *testing.T) {
			const rate, size, events = 8_000, 400, 2_400
			lane := wal.LaneOf("k0")
			var healed atomic.Bool
			shape := kinesisShape()
			shape.BatchRecords, shape.MaxBatch, shape.AimBatch, shape.MaxRecord, shape.AimRecord = 500, 4<<20, 4<<20, 64<<10, 24<<10
			svc := newService(t, shape)
			svc.faults = func(_ *rand.Rand, batch []shipper.Record) (f fault) {
				f.failed = make(map[int]*shipper.Error)
				for i, r := range batch {
					if wal.LaneOf(r.Key) == lane && !healed.Load() {
						f.failed[i] = failure(class, "record")
					}
				}
				return f
			}
			r := &rig{t: t, svc: svc, sink: &narrowband{service: svc, rate: rate, line: make(chan struct{}, 1)}, opts: shipper.Options{Link: shipper.NewLink(0)}}
			r.inMemory()
			r.src.append("k0", 400, size)
			r.src.sendLong(events, size, 20)
			began := time.Now()
			r.start()
			others := 0
			for key, n := range r.src.n {
				if wal.LaneOf(key) != lane {
					others += n
				}
			}
			ideal := time.Duration(events*size*4/3) * time.Second / rate
			for svc.arrived() < others && time.Since(began) < 5*ideal {
				time.Sleep(100 * time.Millisecond)
			}
			took := time.Since(began)
			t.Logf("%v: %d events after %s, %.2f times the time of their bytes", class, svc.arrived(), took, took.Seconds()/ideal.Seconds())
			if took > ideal*5/4 {
				t.Errorf("%v: %d of %d events after %s, want all after %s", class, svc.arrived(), others, took, ideal*5/4)
			}
			healed.Store(true)
			r.finish()
		})
	}
}

// unresponsive is a slow link whose service does not respond to one request, once hangs is set.
type unresponsive struct {
	*narrowband
	hangs atomic.Bool
}

func (h *unresponsive) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	if h.hangs.CompareAndSwap(true, false) {
		<-ctx.Done()
		return shipper.Response{Err: &shipper.Error{Class: shipper.Transient, Code: shipper.CodeTimeout, Record: -1}}
	}
	return h.narrowband.Send(ctx, batch)
}

// On a slow link one request goes out at a time. One that takes long holds up the others for a while only.
func TestSlowLink_ARequestThatHangsHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, size, events = 8_000, 400, 2_400
		shape := kinesisShape()
		shape.BatchRecords, shape.MaxBatch, shape.AimBatch, shape.MaxRecord, shape.AimRecord = 500, 4<<20, 4<<20, 64<<10, 24<<10
		svc := newService(t, shape)
		sink := &unresponsive{narrowband: &narrowband{service: svc, rate: rate, line: make(chan struct{}, 1)}}
		r := &rig{t: t, svc: svc, sink: sink, opts: shipper.Options{Link: shipper.NewLink(0), Retry: shipper.Retry{Timeout: 2 * time.Minute}}}
		r.inMemory()
		r.src.sendLong(events, size, 20)
		r.start()
		time.Sleep(20 * time.Second) // the link has shown its speed
		sink.hangs.Store(true)
		for sink.hangs.Load() {
			time.Sleep(100 * time.Millisecond)
		}
		arrived := svc.arrived()
		time.Sleep(time.Minute)
		if got := svc.arrived() - arrived; got < 100 {
			t.Errorf("got %d events in a minute beside a request that hangs, want the most of them", got)
		}
		r.finish()
	})
}

// Something on the way to a fast service rejects large requests. A key with a long backlog, which goes in one small request after
// the other, delays no other key.
func TestCeiling_ABusyKeyHoldsBackNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shape := kinesisShape()
		shape.BatchRecords, shape.MaxBatch, shape.AimBatch, shape.MaxRecord, shape.AimRecord = 500, 4<<20, 4<<20, 64<<10, 24<<10
		svc := newService(t, shape)
		svc.delay = 100 * time.Millisecond
		svc.faults = func(_ *rand.Rand, batch []shipper.Record) (f fault) {
			sum := 0
			for _, r := range batch {
				sum += len(r.Data)
			}
			if sum > 16<<10 {
				f.err = &shipper.Error{Class: shipper.Transient, Code: "413", Record: -1, TooLarge: true}
			}
			return f
		}
		r := &rig{t: t, svc: svc}
		r.inMemory()
		r.start()
		const others = 200
		busy, left := wal.LaneOf("k0"), others
		svc.landing = func(_ shipper.Record, keys map[string][]string) {
			for key, payloads := range keys {
				if wal.LaneOf(key) != busy {
					left -= len(payloads)
				}
			}
		}
		r.src.append("k0", 4000, 400)
		for n, i := 0, 1; n < others; i++ {
			if key := fmt.Sprint("k", i); wal.LaneOf(key) != busy {
				r.src.append(key, 1, 400)
				n++
			}
		}
		began := time.Now()
		for done := false; !done && time.Since(began) < time.Hour; time.Sleep(100 * time.Millisecond) {
			svc.mu.Lock()
			done = left == 0
			svc.mu.Unlock()
		}
		took := time.Since(began)
		r.finish()
		all := time.Since(began)
		t.Logf("others after %s, all after %s", took, all)
		if took > all/2 {
			t.Errorf("the events of other keys arrived after %s, all after %s; want the others in half of that time", took, all)
		}
	})
}
