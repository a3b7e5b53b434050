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
)

// One or two keys are throttled for any length of time. Lanes of other keys go on as usual, at any rate, with a known
// quota and without one. When the throttling is over, the waiting events arrive soon.
func TestPacing_ThrottledKeySlowsNoOther(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for i := range 12 {
		shards, stuck := 1<<random.IntN(5), 1+random.IntN(2)
		quota, hidden, byShard := random.IntN(2) == 0, random.IntN(4) == 0, random.IntN(3) == 0
		size := 50 + random.IntN(400)
		name := fmt.Sprintf("%d: shards %d stuck %d quota %v hidden %v by shard %v size %d", i, shards, stuck, quota, hidden, byShard, size)
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const keys, each = 100, 200 // events a second
				svc := newShards(t, shards, shipper.Quota{Bytes: 200_000, Records: 1000})
				svc.shape.ByShard = byShard
				svc.real, svc.known, svc.hidden = svc.mapped, svc.mapped, hidden
				if !quota {
					svc.shape.Quota = shipper.Quota{}
				}
				throttled, over := make(map[string]bool), false
				lanes := make(map[uint8]bool)
				for n := range stuck {
					key := fmt.Sprint("k", 3+20*n)
					throttled[key], lanes[wal.LaneOf(key)] = true, true
				}
				svc.faults = func(_ *rand.Rand, batch []shipper.Record) (f fault) {
					f.failed = make(map[int]*shipper.Error)
					for i, r := range batch {
						for key := range svc.contents(r) {
							if throttled[key] && !over {
								f.failed[i] = failure(shipper.Throttled, "ProvisionedThroughputExceededException")
							}
						}
					}
					return f
				}
				r := shardRig(t, svc, shipper.Options{})
				check := func(when string, sent map[string]int, also bool) {
					t.Helper()
					synctest.Wait()
					for key, want := range sent {
						if got := svc.arrived(key); (also || !lanes[wal.LaneOf(key)]) && got < want {
							t.Errorf("%s: key %s: %d of %d events arrived", when, key, got, want)
						}
					}
				}
				for range 20 {
					r.produce(1, each, size, keys)
					sent := clone(r.src.n)
					r.produce(2, each, size, keys)
					check("2 s later", sent, false)
				}
				svc.mu.Lock()
				over = true
				svc.mu.Unlock()
				sent := clone(r.src.n)
				r.produce(22, each, size, keys)
				check("22 s after the throttling", sent, true)
				r.finish()
			})
		})
	}
}

func clone(m map[string]int) map[string]int {
	c := make(map[string]int, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// After an outage in which a service responded 503 to every request, the backlog is shipped nearly as soon as after an
// outage of the same length with refused connections.
func TestPacing_OutageOf503CostsNoMoreThanRefusedConnections(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, shape := range []string{"kinesis", "kinesis, no map", "firehose"} {
		for _, quota := range []bool{false, true} {
			for range 3 {
				seconds, each := 1+random.IntN(9), 200+random.IntN(1500)
				name := fmt.Sprintf("%s, quota %v, %d s, %d events/s", shape, quota, seconds, each)
				var took [2]time.Duration
				for i, err := range []*shipper.Error{failure(shipper.Transient, "connection"), failure(shipper.Throttled, "ServiceUnavailableException")} {
					synctest.Test(t, func(t *testing.T) { took[i] = recovery(t, shape, quota, seconds, each, err) })
				}
				t.Logf("%s: %v after refused connections, %v after 503", name, took[0], took[1])
				if took[1] > 2*took[0]+1300*time.Millisecond { // the constant covers the wait for the next try and the batching of the last events
					t.Errorf("%s: %v after 503, %v after refused connections, want at most twice that", name, took[1], took[0])
				}
			}
		}
	}
}

// recovery returns the time that shipping the backlog of an outage takes.
func recovery(t *testing.T, shape string, quota bool, seconds, each int, err *shipper.Error) time.Duration {
	svc := newService(t, kinesisShape())
	most := shipper.Quota{Bytes: 200_000, Records: 2000}
	if shape == "firehose" {
		svc.shape, most = firehoseShape(), shipper.Quota{Bytes: 800_000, Records: 8000, Requests: 500}
	}
	if shape == "kinesis" {
		svc.known = evenShards(4, "s")
	}
	if quota {
		svc.shape.Quota = most
	}
	r := &rig{t: t, svc: svc, opts: shipper.Options{Retry: shipper.Retry{Max: 300 * time.Millisecond}}}
	r.inMemory()
	r.start()
	for range 10 * 5 {
		r.src.sendLong(each/10, 100, 100)
		time.Sleep(time.Second / 10)
	}
	svc.mu.Lock()
	svc.faults = func(*rand.Rand, []shipper.Record) fault { return fault{err: err} }
	svc.mu.Unlock()
	for range 10 * seconds {
		r.src.sendLong(each/10, 100, 100)
		time.Sleep(time.Second / 10)
	}
	svc.mu.Lock()
	svc.faults = nil
	svc.mu.Unlock()
	began := time.Now()
	for svc.arrived() < r.src.all && time.Since(began) < time.Hour {
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
	}
	took := time.Since(began)
	r.finish()
	return took
}

// limited is a destination without shards that rejects whole requests when it gets too many bytes.
type limited struct {
	*service
	rate    float64
	level   float64
	filled  time.Time
	refused int
}

func (l *limited) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	size := 0.0
	for _, r := range batch {
		size += float64(len(r.Data))
	}
	l.mu.Lock()
	l.level = min(l.level+time.Since(l.filled).Seconds()*l.rate, l.rate)
	l.filled = time.Now()
	ok := l.level >= size
	if ok {
		l.level -= size
	} else {
		l.refused++
	}
	l.mu.Unlock()
	if !ok {
		return shipper.Response{Err: failure(shipper.Throttled, "ServiceUnavailableException"), Code: "503"}
	}
	return l.service.Send(ctx, batch)
}

// A service that rejects whole requests for their rate gets few such requests, and as many events as it can accept.
func TestPacing_WholeRequestsRefusedForTheirRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := &limited{service: newService(t, firehoseShape()), rate: 100_000, filled: time.Now()}
		r := &rig{t: t, svc: svc.service, sink: svc}
		r.inMemory()
		r.start()
		r.src.sendLong(40_000, 300, 100) // 12 MB, for 120 s
		time.Sleep(100 * time.Second)
		synctest.Wait()
		if got := svc.arrived() * 300; got < 7_200_000 { // the delays are drawn: of 150 runs the least had 7.55 million
			t.Errorf("%d bytes in 100 s at 100,000 a second", got)
		}
		if svc.refused*4 > svc.requests {
			t.Errorf("%d requests were refused and %d taken", svc.refused, svc.requests)
		}
		t.Logf("%d requests were refused and %d taken, %d bytes", svc.refused, svc.requests, svc.arrived()*300)
		r.finish()
	})
}
