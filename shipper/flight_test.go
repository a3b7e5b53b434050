package shipper_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// hanging is a service whose requests do not return while it hangs, even after their context ends.
type hanging struct {
	*service
	hang chan struct{} // closed when it stops hanging
}

func (s *hanging) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	<-s.hang
	return s.service.Send(context.WithoutCancel(ctx), batch)
}

// ledgerAdds checks that a cursor's ledger adds up and counts no more events as delivered than the service holds.
func ledgerAdds(t *testing.T, when string, st wal.CursorStat, svc *service) {
	t.Helper()
	dropped := droppedOf(st)
	pending := int64(st.Pending.Events)
	if settled := st.Delivered.Events + st.Dead.Events + dropped; pending < 0 || settled+st.Pending.Events != st.Appended.Events {
		t.Errorf("%s: appended %d, delivered %d, dead %d, dropped %d, pending %d", when,
			st.Appended.Events, st.Delivered.Events, st.Dead.Events, dropped, pending)
	}
	if held := svc.arrived(); st.Delivered.Events > uint64(held) {
		t.Errorf("%s: %d events count as delivered, the service holds %d", when, st.Delivered.Events, held)
	}
}

// droppedOf returns the number of dropped events.
func droppedOf(st wal.CursorStat) (events uint64) {
	for _, c := range st.Dropped {
		events += c.Events
	}
	return events
}

// crashCopy copies the current contents of the disk and returns the path of the copy.
func crashCopy(t *testing.T, dir string) string {
	t.Helper()
	at := fastDir(t)
	if err := os.CopyFS(at, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return at
}

// Events become too old while requests with events of their lanes are in flight. The requests then succeed, fail or
// time out. The ledger always adds up, also after a kill at that moment, and no producer gets "delivered" for a dropped
// event.
func TestDrop_OfWhatARequestHolds(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { dropInFlight(t, rand.New(rand.NewPCG(seed, 7)), seed%3 == 0) })
		})
	}
}

func dropInFlight(t *testing.T, r *rand.Rand, whole bool) {
	shape := firehoseShape()
	if whole {
		shape = fileShape()
	} else if r.IntN(2) == 0 {
		shape = kinesisShape()
	}
	svc := newService(t, shape)
	svc.gaps = true
	svc.delay = time.Duration(1+r.IntN(20_000)) * time.Millisecond
	svc.faults = func(r *rand.Rand, batch []shipper.Record) (f fault) {
		switch r.IntN(4) {
		case 0:
			f.failed = someFail(r, batch, shipper.Transient)
		case 1:
			f.err, f.stored = failure(shipper.Transient, "500"), r.IntN(2) == 0
		}
		return f
	}
	maxAge := time.Duration(2+r.IntN(10)) * time.Second
	rig := &rig{t: t, dir: fastDir(t), svc: svc, opts: shipper.Options{
		Memory: 16 << r.IntN(5) << 10, Unpaced: true, Retry: shipper.Retry{Max: time.Second},
	}}
	rig.log, rig.dead = openLog(t, rig.dir), deadletter.Open(rig.dir, deadletter.Options{})
	rig.log.SetPolicy(func(string) wal.Policy { return wal.Policy{MaxAge: maxAge} })
	rig.src = &source{t: t, log: rig.log, n: make(map[string]int)}
	rig.start()
	place := rig.place()

	var waiting sync.WaitGroup
	keys := 1 + r.IntN(5)
	for range 8 {
		key := fmt.Sprint("k", r.IntN(keys))
		rig.src.send(key, 1+r.IntN(400))
		last := wal.Appended{First: rig.log.Next("s") - 1, Count: 1}
		n := rig.src.sent(key)
		waiting.Go(func() {
			delivered, err := rig.log.WaitSettled(context.Background(), "s", last)
			if err != nil {
				t.Error(err)
			}
			if delivered && !svc.has(key, n) {
				t.Errorf("event %d of key %q is told as delivered, and was dropped", n, key)
			}
		})
		time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond)
		synctest.Wait()
		ledgerAdds(t, "running", place.Stat(), svc)
		killAndFinish(t, rig, shape, nil)
	}
	time.Sleep(time.Minute)
	waiting.Wait()
	rig.stop()
	<-rig.done
	st := place.Stat()
	ledgerAdds(t, "at the end", st, svc)
	if st.Pending.Events > 0 {
		t.Errorf("%d events are pending, want none", st.Pending.Events)
	}
	if err := rig.log.Close(); err != nil {
		t.Error(err)
	}
}

// killAndFinish ships the remaining events of an agent that is killed now to another service, and checks the ledger
// before and after. prepare, unless it is nil, is called with that service.
func killAndFinish(t *testing.T, r *rig, shape shipper.Shape, prepare func(*service)) {
	t.Helper()
	dir := crashCopy(t, r.dir)
	log := openLogAs(t, dir, r.wal)
	log.SetPolicy(func(string) wal.Policy { return r.policy })
	dead := deadletter.Open(dir, deadletter.Options{})
	place, err := log.OpenCursor("s", "d")
	if err != nil {
		t.Fatal(err)
	}
	before := place.Stat()
	svc := newService(t, shape)
	svc.gaps = true
	if svc.real = r.svc.real; shape.ByShard {
		svc.known = svc.real
	}
	if prepare != nil {
		prepare(svc)
	}
	ship := shipper.New(shipper.Options{Source: log, Cursor: place, Sink: svc, Dead: dead})
	ship.Finish()
	if err := ship.Run(context.Background()); err != nil {
		t.Error(err)
	}
	st := place.Stat()
	svc.total += int(before.Delivered.Events)
	ledgerAdds(t, "killed, and run again", st, svc)
	if st.Delivered.Events != uint64(svc.total) || st.Pending.Events != 0 {
		t.Errorf("killed with %d delivered and %d pending, then %d delivered and %d pending; %d arrived", before.Delivered.Events,
			int64(before.Pending.Events), st.Delivered.Events, int64(st.Pending.Events), svc.total)
	}
	if err := errors.Join(log.Close(), dead.Close()); err != nil {
		t.Error(err)
	}
}

// has reports whether event n of a key is stored.
func (s *service) has(key string, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.payloads[fmt.Sprint(key, " ", n)]
}

// A halt waits for the requests in flight until its context ends.
func TestHalt_CutsOffWhenItsContextEnds(t *testing.T) {
	for _, delay := range []time.Duration{time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			svc := newService(t, firehoseShape())
			svc.delay = delay
			r := newRig(t, svc)
			r.src.send("k", 100)
			time.Sleep(2 * shipper.DefaultMaxDelay)
			begin := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			r.ship.Halt(ctx)
			if err := <-r.done; err != nil {
				t.Errorf("got %v, want no error", err)
			}
			if took := time.Since(begin); took > 3*time.Second {
				t.Errorf("the halt took %s, want at most 3 s", took)
			}
			<-r.ship.Ended()
			place := r.place()
			st := place.Stat()
			ledgerAdds(t, "halted", st, svc)
			if cut := delay > 3*time.Second; cut != (st.Delivered.Events == 0) {
				t.Errorf("%d events delivered after a halt beside a request of %s", st.Delivered.Events, delay)
			}
			svc.delay = time.Millisecond
			r.start()
			r.finish()
		})
	}
}

// A request that does not return after its context ended, such as a write to a hanging disk, delays neither a halt nor
// a stop. It is left behind, and Ended is closed when the destination is free.
func TestStop_LeavesBehindARequestThatDoesNotReturn(t *testing.T) {
	for name, stop := range map[string]func(*rig){
		"halt": func(r *rig) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			r.ship.Halt(ctx)
		},
		"stop": func(r *rig) { r.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := &hanging{newService(t, fileShape()), make(chan struct{})}
				r := &rig{t: t, svc: svc.service, sink: svc}
				r.inMemory()
				r.start()
				r.src.send("k", 100)
				time.Sleep(2 * shipper.DefaultMaxDelay)
				begin := time.Now()
				stop(r)
				if err := <-r.done; !errors.Is(err, shipper.ErrStuck) {
					t.Errorf("got %v, want %v", err, shipper.ErrStuck)
				}
				if took := time.Since(begin); took > 2*time.Second {
					t.Errorf("it took %s, want at most 2 s", took)
				}
				select {
				case <-r.ship.Ended():
					t.Error("the destination counts as free though a request may still write to it")
				default:
				}
				place := r.place()
				ledgerAdds(t, "left behind", place.Stat(), svc.service)
				close(svc.hang)
				<-r.ship.Ended()
				r.start()
				r.finish()
			})
		})
	}
}

// Neither a full log nor a log with too old events waits for a request that does not return after its context ended.
// When the request returns, its response settles those of its events that were not dropped, and its lanes go on.
func TestDrop_LeavesBehindARequestThatDoesNotReturn(t *testing.T) {
	for name, shape := range map[string]shipper.Shape{"whole": wideFile(), "keys": firehoseShape()} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%s/seed=%d", name, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { dropStuck(t, shape, rand.New(rand.NewPCG(seed, 11))) })
			})
		}
	}
}

func dropStuck(t *testing.T, shape shipper.Shape, r *rand.Rand) {
	svc := &hanging{newService(t, shape), make(chan struct{})}
	svc.gaps = true
	rig := &rig{t: t, dir: fastDir(t), svc: svc.service, sink: svc}
	rig.opts = shipper.Options{Memory: 32 << 10 << r.IntN(5), Unpaced: true, Retry: shipper.Retry{Timeout: time.Hour}}
	if r.IntN(2) == 0 {
		rig.wal = wal.Options{MaxSize: 1 << 20, OnFull: wal.DropOldest}
	} else {
		rig.policy = wal.Policy{MaxAge: 10 * time.Second}
	}
	rig.log, rig.dead = rig.open(), deadletter.Open(rig.dir, deadletter.Options{})
	rig.src = &source{t: t, log: rig.log, n: make(map[string]int)}
	rig.start()
	for i := range 300 {
		began := time.Now()
		rig.src.append(fmt.Sprint("k", r.IntN(10)), 1+r.IntN(20), r.IntN(1000))
		if took := time.Since(began); took > longestOfAll {
			t.Errorf("append %d took %s, want at most %s", i, took, longestOfAll)
		}
		time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
		synctest.Wait()
		ledgerAdds(t, "stuck", rig.place().Stat(), svc.service)
	}
	if droppedOf(rig.place().Stat()) == 0 {
		t.Error("nothing was dropped")
	}
	if svc.arrived() > 0 {
		t.Errorf("%d events arrived at a service that hangs", svc.arrived())
	}
	killAndFinish(t, rig, shape, nil)
	close(svc.hang)
	rig.finish()
}
