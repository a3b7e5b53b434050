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
)

// hanging is a service whose requests do not return while it hangs, whatever their context says.
type hanging struct {
	*service
	hang chan struct{} // closed: it hangs no longer
}

func (s *hanging) Send(ctx context.Context, batch []shipper.Record) shipper.Reply {
	<-s.hang
	return s.service.Send(context.WithoutCancel(ctx), batch)
}

// ledgerAdds checks that a place's ledger adds up and says no more than the service holds.
func ledgerAdds(t *testing.T, when string, st wal.PlaceStat, svc *service) {
	t.Helper()
	dropped := uint64(0)
	for _, c := range st.Dropped {
		dropped += c.Events
	}
	pending := int64(st.Pending.Events)
	if settled := st.Delivered.Events + st.Dead.Events + dropped; pending < 0 || settled+st.Pending.Events != st.Appended.Events {
		t.Errorf("%s: appended %d, delivered %d, dead %d, dropped %d, pending %d", when,
			st.Appended.Events, st.Delivered.Events, st.Dead.Events, dropped, pending)
	}
	if held := svc.arrived(); st.Delivered.Events > uint64(held) {
		t.Errorf("%s: %d events count as delivered, the service holds %d", when, st.Delivered.Events, held)
	}
}

// crashCopy returns what the disk holds now.
func crashCopy(t *testing.T, dir string) string {
	t.Helper()
	at := fastDir(t)
	if err := os.CopyFS(at, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return at
}

// Events become too old while requests of their lanes are under way, which then end well, badly or not in time.
// At each moment the ledger adds up, also that of an agent which is killed then; and a producer that waits hears
// "delivered" of nothing that was dropped.
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
	rig.log, rig.dead = openLog(t, rig.dir), wal.OpenDead(rig.dir)
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
		killAndFinish(t, rig, shape)
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

// killAndFinish ships what a killed agent leaves behind to another service, and checks the ledger before and after.
func killAndFinish(t *testing.T, r *rig, shape shipper.Shape) {
	t.Helper()
	dir := crashCopy(t, r.dir)
	log := openLog(t, dir)
	dead := wal.OpenDead(dir)
	place, err := log.Place("s", "d")
	if err != nil {
		t.Fatal(err)
	}
	before := place.Stat()
	svc := newService(t, shape)
	svc.gaps = true
	ship := shipper.New(shipper.Options{Log: log, Place: place, Sink: svc, Dead: dead})
	ship.Finish()
	if err := ship.Run(context.Background()); err != nil {
		t.Error(err)
	}
	st := place.Stat()
	svc.total += int(before.Delivered.Events)
	ledgerAdds(t, "killed, and run again", st, svc)
	if want := before.Delivered.Events + before.Pending.Events; st.Delivered.Events != want || st.Pending.Events != 0 {
		t.Errorf("killed with %d delivered and %d pending, then %d delivered and %d pending", before.Delivered.Events,
			int64(before.Pending.Events), st.Delivered.Events, int64(st.Pending.Events))
	}
	if err := errors.Join(log.Close(), dead.Close()); err != nil {
		t.Error(err)
	}
}

// has tells whether event n of a key is stored.
func (s *service) has(key string, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.payloads[fmt.Sprint(key, " ", n)]
}

// A halt waits for the requests under way for as long as its context says.
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

// A request that does not return although it was cut off, as a write to a disk that hangs, holds up neither a halt
// nor a stop. It is left behind, and Ended tells when the destination is free.
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
				r := &rig{t: t, dir: fastDir(t), svc: svc.service, sink: svc}
				r.log, r.dead = openLog(t, r.dir), wal.OpenDead(r.dir)
				r.src = &source{t: t, log: r.log, n: make(map[string]int)}
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
