package shipper_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/internal/sourcetest"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// rig is a log, a service, and a shipper between them, in virtual time. The log is in memory, unless the test needs its
// policies, its files or a restart of it.
type rig struct {
	t    *testing.T
	mem  *sourcetest.Log // nil: log
	dir  string
	log  *wal.Log
	dead *deadletter.Queue
	svc  *service
	sink shipper.Sink // nil: svc
	src  *source
	ship *shipper.Shipper
	done chan error
	stop context.CancelFunc
	opts shipper.Options

	wal     wal.Options // except Dir and SegmentSize
	policy  wal.Policy
	between func() // called between the two halves of a restart; nil: nothing
}

// open opens the log.
func (r *rig) open() *wal.Log {
	r.t.Helper()
	log := openLogAs(r.t, r.dir, r.wal)
	log.SetPolicy(func(string) wal.Policy { return r.policy })
	return log
}

// newRig returns a started rig with a log in memory.
func newRig(t *testing.T, svc *service) *rig {
	r := &rig{t: t, svc: svc}
	r.inMemory()
	r.start()
	return r
}

// inMemory gives the rig a log in memory.
func (r *rig) inMemory() {
	r.mem = sourcetest.New()
	r.src = &source{t: r.t, log: r.mem, n: make(map[string]int)}
}

// newLogRig returns a started rig with a log in files.
func newLogRig(t *testing.T, svc *service) *rig {
	dir := fastDir(t)
	r := &rig{t: t, dir: dir, log: openLog(t, dir), dead: deadletter.Open(dir, deadletter.Options{}), svc: svc}
	r.src = &source{t: t, log: r.log, n: make(map[string]int)}
	r.start()
	return r
}

// The disk is under test in none of the tests here.
var fastDir = testkit.MemoryDir

// place returns the present or last cursor of the rig.
func (r *rig) place() shipper.Cursor {
	if r.mem != nil {
		return r.mem.Cursor("s", "d")
	}
	return r.log.Cursors("s")[0]
}

// start starts a shipper, once the previous one has ended.
func (r *rig) start() {
	o := r.opts
	o.Sink = r.svc
	if r.mem != nil {
		o.Source, o.Cursor = r.mem, r.place()
		if o.Dead == nil {
			o.Dead = new(sourcetest.DeadLetters)
		}
	} else {
		o.Source, o.Cursor = r.log, r.openCursor()
		if o.Dead == nil {
			o.Dead = r.dead
		}
	}
	if r.sink != nil {
		o.Sink = r.sink
	}
	r.ship = shipper.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop, r.done = cancel, make(chan error, 1)
	go func() { r.done <- r.ship.Run(ctx) }()
}

func (r *rig) openCursor() *wal.Cursor {
	for _, p := range r.log.Cursors("s") {
		p.Close()
	}
	place, err := r.log.OpenCursor("s", "d")
	if err != nil {
		r.t.Fatal(err)
	}
	return place
}

// restart stops the shipper and its requests, opens the log again and starts a new shipper.
func (r *rig) restart() {
	r.stop()
	<-r.done
	if r.mem != nil {
		r.start()
		return
	}
	if err := r.log.Close(); err != nil {
		r.t.Error(err)
	}
	before := r.place().Stat()
	r.log = r.open()
	r.src.log = r.log
	var after wal.CursorStat
	if len(r.log.Cursors("s")) > 0 { // a stream without events leaves nothing behind
		after = r.place().Stat()
	}
	if after.Delivered != before.Delivered || after.Dead != before.Dead || after.Pending != before.Pending {
		r.t.Errorf("the ledger was %+v before a restart, and is %+v", before, after)
	}
	if r.between != nil {
		r.between()
	}
	r.start()
}

// finish ships all remaining events, and checks the arrived events and the ledger.
func (r *rig) finish() wal.CursorStat {
	r.t.Helper()
	r.ship.Finish()
	if err := <-r.done; err != nil {
		r.t.Errorf("run: %v", err)
	}
	r.stop()
	place := r.place()
	st := place.Stat()
	if r.mem == nil {
		if err := r.log.Close(); err != nil {
			r.t.Error(err)
		}
		if err := r.dead.Close(); err != nil {
			r.t.Error(err)
		}
	}
	all, dropped := uint64(r.src.all), droppedOf(st)
	if st.Appended.Events != all || st.Pending.Events != 0 || st.Delivered.Events+st.Dead.Events+dropped != all || st.Checkpoint != all+1 {
		r.t.Errorf("ledger %+v, want %d events settled", st, all)
	}
	ledgerAdds(r.t, "at the end", st, r.svc)
	// Some dropped events may have arrived, with requests that were cut off.
	if got := uint64(r.svc.total) + st.Dead.Events; got != all && dropped == 0 || got+dropped < all {
		r.t.Errorf("%d events arrived or died and %d were dropped, want %d", got, dropped, all)
	}
	return st
}

func shapes() map[string]shipper.Shape {
	return map[string]shipper.Shape{
		"kinesis": kinesisShape(), "firehose": firehoseShape(), "file": fileShape(), "single": singleShape(), "key runs": runsShape(),
		"strict": strictShape(), "by shard": byShardShape(), "any": anyShape(), "firehose, one key": oneKeyShape(), "firehose, any": anyLines(),
		"gzip": compressedShape(shipper.Gzip), "zstd, envelope": envelopeShape(compressedShape(shipper.Zstd)),
		"kinesis, envelope": envelopeShape(kinesisShape()), "file, envelope": envelopeShape(wideFile()),
	}
}

func eachShape(t *testing.T, f func(t *testing.T, shape shipper.Shape)) {
	for name, shape := range shapes() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, shape) })
		})
	}
}

func TestEveryEventArrivesInOrderOfItsKey(t *testing.T) {
	eachShape(t, func(t *testing.T, shape shipper.Shape) {
		r := newRig(t, newService(t, shape))
		for i := range 500 {
			r.src.send(fmt.Sprint("k", i%37), 1+i%5)
			if i%100 == 0 {
				time.Sleep(time.Second)
			}
		}
		st := r.finish()
		if r.svc.again != 0 {
			t.Errorf("%d events arrived twice", r.svc.again)
		}
		if st.Records == 0 || st.BilledBytes == 0 || st.Requests != uint64(r.svc.requests) {
			t.Errorf("got %+v for %d requests", st.Ledger, r.svc.requests)
		}
	})
}

func TestOrderAndCompletenessSurviveEveryKindOfFailure(t *testing.T) {
	for seed := range uint64(8) {
		eachShape(t, func(t *testing.T, shape shipper.Shape) {
			svc := newService(t, shape)
			svc.rand = rand.New(rand.NewPCG(seed, 7))
			svc.faults = randomFault
			start := newRig
			if seed < 2 { // a restart of the log too
				start = newLogRig
			}
			r := start(t, svc)
			random := rand.New(rand.NewPCG(seed, 8)) // the service has its own random numbers
			for i := range 300 {
				r.src.send(fmt.Sprint("k", random.IntN(30)), 1+random.IntN(4))
				if i%50 == 49 {
					time.Sleep(time.Duration(random.IntN(2000)) * time.Millisecond)
				}
				if i == 150 {
					r.restart()
				}
			}
			r.finish()
		})
	}
}

func randomFault(r *rand.Rand, batch []shipper.Record) (f fault) {
	switch r.IntN(6) {
	case 0:
		f.err = &shipper.Error{Class: shipper.Transient, Code: "500", Record: -1}
		f.stored = r.IntN(2) == 0
	case 1, 2:
		f.failed = make(map[int]*shipper.Error)
		for i := range batch {
			if r.IntN(3) == 0 {
				f.failed[i] = &shipper.Error{Class: shipper.Throttled, Code: "slow", Record: -1}
			}
		}
	}
	return f
}

func TestOnlyWhatFailedIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t, kinesisShape())
		once := true
		svc.faults = func(_ *rand.Rand, batch []shipper.Record) (f fault) {
			if once && len(batch) > 3 {
				once = false
				f.failed = map[int]*shipper.Error{2: {Class: shipper.Throttled, Code: "slow", Record: -1}}
			}
			return f
		}
		r := newRig(t, svc)
		for i := range 40 {
			r.src.send(fmt.Sprint("k", i%20), 1)
		}
		r.finish()
		if once || svc.again != 0 {
			t.Errorf("%d events arrived twice; fault used: %v", svc.again, !once)
		}
	})
}

func TestAStuckKeyHoldsBackNoOtherAndIsNotSentTwiceAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t, kinesisShape())
		stuck := true
		svc.faults = func(_ *rand.Rand, batch []shipper.Record) (f fault) {
			for i, rec := range batch {
				if stuck && rec.Key == "k3" {
					f.failed = map[int]*shipper.Error{i: {Class: shipper.Throttled, Code: "slow", Record: -1}}
				}
			}
			return f
		}
		r := newLogRig(t, svc)
		for range 200 {
			for k := range 30 {
				r.src.send(fmt.Sprint("k", k), 1)
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for k := range 30 {
			key := fmt.Sprint("k", k)
			if want := 200; wal.LaneOf(key) != wal.LaneOf("k3") && svc.seen[key] != want {
				t.Errorf("key %s: %d events arrived while another key is stuck, want %d", key, svc.seen[key], want)
			}
		}
		if got := r.ship.Report(); got.State != shipper.Waiting || got.LastError == "" {
			t.Errorf("got %+v, want waiting", got)
		}
		r.restart()
		time.Sleep(time.Minute)
		synctest.Wait()
		stuck = false
		r.finish()
		if svc.again != 0 {
			t.Errorf("%d events arrived twice", svc.again)
		}
	})
}

func TestPoisonIsFoundAndOnlyItDies(t *testing.T) {
	eachShape(t, func(t *testing.T, shape shipper.Shape) {
		svc := newService(t, shape)
		svc.refused = map[string]bool{"k5 7": true, "k5 8": true, "k11 1": true}
		r := newRig(t, svc)
		for i := range 400 {
			r.src.send(fmt.Sprint("k", i%20), 1)
		}
		if st := r.finish(); st.Dead.Events != 3 {
			t.Errorf("got %d dead events, want 3", st.Dead.Events)
		}
	})
}

func TestARequestThatIsRefusedWholeIsHalvedDownToTheCulprit(t *testing.T) {
	eachShape(t, func(t *testing.T, shape shipper.Shape) {
		svc := newService(t, shape)
		svc.refused = map[string]bool{"k5 7": true}
		svc.faults = func(_ *rand.Rand, batch []shipper.Record) (f fault) {
			for _, rec := range batch {
				for _, p := range keysOf(t, shape, rec)["k5"] {
					if p == "k5 7" {
						f.err = &shipper.Error{Class: shipper.Poison, Code: "InvalidArgument", Record: -1}
					}
				}
			}
			return f
		}
		r := newRig(t, svc)
		for i := range 400 {
			r.src.send(fmt.Sprint("k", i%20), 1)
		}
		if st := r.finish(); st.Dead.Events != 1 {
			t.Errorf("got %d dead events, want 1", st.Dead.Events)
		}
	})
}

func TestABrokenDestinationIsTriedForEverAndCostsLittle(t *testing.T) {
	eachShape(t, func(t *testing.T, shape shipper.Shape) {
		svc := newService(t, shape)
		down := true
		svc.faults = func(*rand.Rand, []shipper.Record) (f fault) {
			if down {
				f.err = &shipper.Error{Class: shipper.Operator, Code: "AccessDenied", Record: -1}
			}
			return f
		}
		r := newRig(t, svc)
		for i := range 1000 {
			r.src.send(fmt.Sprint("k", i%20), 1)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := r.ship.Report(); got.State != shipper.Blocked || got.RetryAt.IsZero() {
			t.Errorf("got %+v, want blocked", got)
		}
		if svc.requests < 60 || svc.requests > 200 {
			t.Errorf("%d requests in an hour, want one every 30 s", svc.requests)
		}
		down = false
		r.finish()
		if got := r.ship.Report(); got.State != shipper.Running || got.LastError != "" {
			t.Errorf("got %+v, want running", got)
		}
	})
}

func TestEventsWaitForCompanyNoLongerThanMaxDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t, firehoseShape())
		r := newRig(t, svc)
		for range 10 {
			r.src.send("k1", 1)
			r.src.send("k2", 1)
			time.Sleep(time.Second + 100*time.Millisecond)
		}
		synctest.Wait()
		if svc.total != 20 || svc.requests != 10 {
			t.Errorf("%d events in %d requests, want 20 in 10", svc.total, svc.requests)
		}
		r.finish()
	})
}
