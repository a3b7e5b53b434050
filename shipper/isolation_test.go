package shipper_test

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/internal/sourcetest"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// The service throttles a key or a lane for half a day. The other events get through as usual, memory stays within its
// limit, and after a restart nothing is sent twice.
func TestWhatIsThrottledForADayHoldsBackNoOtherAndCostsNoMemory(t *testing.T) {
	const keys = 200
	lane := wal.LaneOf("k3")
	for name, throttled := range map[string]func(key string) bool{
		"key":  func(key string) bool { return key == "k3" },
		"lane": func(key string) bool { return wal.LaneOf(key) == lane },
	} {
		for shape, s := range map[string]shipper.Shape{"kinesis": kinesisShape(), "shard": byShardShape()} {
			t.Run(name+"/"+shape, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const memory = 64 << 10
					svc := newService(t, s)
					svc.real = shardsAt(0, 0, 64, 128, 192)
					svc.known = svc.real
					var stuck atomic.Bool
					stuck.Store(true)
					svc.faults = func(_ *rand.Rand, batch []shipper.Record) (f fault) {
						f.failed = make(map[int]*shipper.Error)
						for i, r := range batch {
							if stuck.Load() && throttled(r.Key) {
								f.failed[i] = failure(shipper.Throttled, "ProvisionedThroughputExceededException")
							}
						}
						return f
					}
					r := &rig{t: t, dir: fastDir(t), svc: svc, opts: shipper.Options{Memory: memory, Retry: shipper.Retry{Max: 10 * time.Minute}}}
					if shape == "shard" {
						r.inMemory()
					} else {
						r.log, r.dead = openLog(t, r.dir), deadletter.Open(r.dir, deadletter.Options{})
						r.src = &source{t: t, log: r.log, n: make(map[string]int)}
					}
					r.start()
					most, hours := 0, 12
					if testing.Short() {
						hours = 6
					}
					for hour := range hours {
						r.src.sendLong(8*keys, 16, keys)
						r.src.send("k3", 400)
						time.Sleep(time.Minute)
						synctest.Wait()
						most = max(most, r.ship.Report().Held)
						svc.mu.Lock()
						for key, sent := range r.src.n {
							// A lane is the unit of order: the other keys of a stuck key's lane wait with it.
							if wal.LaneOf(key) != lane && !throttled(key) && svc.seen[key] != sent {
								t.Errorf("hour %d, key %s: got %d of %d events a minute after they were sent", hour, key, svc.seen[key], sent)
							}
						}
						svc.mu.Unlock()
						time.Sleep(time.Hour - time.Minute)
						if hour == hours/2 {
							r.restart()
						}
					}
					if most > memory {
						t.Errorf("got %d bytes held, want at most %d", most, memory)
					}
					stuck.Store(false)
					st := r.finish()
					if svc.again != 0 {
						t.Errorf("%d events arrived twice", svc.again)
					}
					t.Logf("%d of %d bytes held at most, %d of them payload in the log; %d requests", most, memory, st.Appended.Bytes, svc.requests)
				})
			})
		}
	}
}

// A destination takes no more time and no more requests for a backlog while another destination is down, slow,
// misconfigured or throttled than it takes alone.
func TestADestinationTakesNothingFromAnother(t *testing.T) {
	always := func(class shipper.Class, code string) func(*service) {
		return func(svc *service) {
			svc.faults = func(*rand.Rand, []shipper.Record) fault { return fault{err: failure(class, code)} }
		}
	}
	troubles := map[string]func(*service){
		"down":      always(shipper.Transient, "connection"),
		"locked":    always(shipper.Operator, "AccessDeniedException"),
		"throttled": always(shipper.Throttled, "ServiceUnavailableException"),
		"mute":      func(svc *service) { svc.delay = time.Hour },
		"slow":      func(svc *service) { svc.delay = 10 * time.Second },
	}
	for shape, s := range map[string]shipper.Shape{"kinesis": kinesisShape(), "firehose": firehoseShape()} {
		t.Run(shape, func(t *testing.T) {
			var alone backlogRun
			synctest.Test(t, func(t *testing.T) { alone = shipBeside(t, s, nil) })
			for name, trouble := range troubles {
				synctest.Test(t, func(t *testing.T) {
					got := shipBeside(t, s, trouble)
					t.Logf("beside one that is %s: %+v", name, got)
					if got.events != alone.events || got.took > alone.took*6/5 || got.requests > alone.requests*6/5 {
						t.Errorf("beside one that is %s: got %+v, want about %+v", name, got, alone)
					}
				})
			}
			t.Logf("alone: %+v", alone)
		})
	}
}

// backlogRun is the measured shipping of a backlog.
type backlogRun struct {
	took     time.Duration
	events   int
	requests int
}

// shipBeside ships a backlog while another destination of the stream has the given trouble; nil: there is no other
// destination.
func shipBeside(t *testing.T, shape shipper.Shape, trouble func(*service)) (run backlogRun) {
	log, dead := sourcetest.New(), new(sourcetest.DeadLetters)
	src := &source{t: t, log: log, n: make(map[string]int)}
	start := func(name string, svc *service) (stop func()) {
		place := log.Cursor("s", name)
		ctx, cancel := context.WithCancel(context.Background())
		ship := shipper.New(shipper.Options{Source: log, Cursor: place, Sink: svc, Dead: dead, Memory: 256 << 10})
		done := make(chan error, 1)
		go func() { done <- ship.Run(ctx) }()
		return func() { cancel(); <-done }
	}
	if trouble != nil {
		other := newService(t, shape)
		trouble(other)
		defer start("troubled", other)()
	}
	src.sendLong(20_000, 100, 200)
	time.Sleep(time.Minute)
	healthy := newService(t, shape)
	begin := time.Now()
	stop := start("healthy", healthy)
	for healthy.arrived() < src.all && time.Since(begin) < time.Hour {
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
	}
	run = backlogRun{time.Since(begin), healthy.arrived(), healthy.requests}
	stop()
	return run
}

// arrived returns the number of stored events.
func (s *service) arrived() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// A destination that accepts nothing holds no more memory than its limit.
func TestADestinationThatIsDownHoldsNoMoreThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const memory = 64 << 10
		svc := newService(t, kinesisShape())
		down := func(*rand.Rand, []shipper.Record) fault { return fault{err: failure(shipper.Transient, "connection")} }
		svc.faults = down
		r := &rig{t: t, svc: svc, opts: shipper.Options{Memory: memory, Retry: shipper.Retry{Max: time.Minute}}}
		r.inMemory()
		r.start()
		for range 20 {
			r.src.sendLong(400, 16, 200)
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := r.ship.Report().Held; got > memory {
				t.Errorf("got %d bytes held, want at most %d", got, memory)
			}
		}
		svc.mu.Lock()
		svc.faults = nil
		svc.mu.Unlock()
		r.finish()
	})
}
