package shipper_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

var (
	schedules    = flag.Int("schedules", 12, "how many fault schedules TestFaultSchedules runs")
	scheduleSeed = flag.Uint64("schedule.seed", 1, "the first schedule's seed; the others follow it")
)

// TestFaultSchedules runs the log and the shipper against the model service for minutes to days of virtual time. The
// schedules have bursts of events, every kind of fault, drops for age and for space, clean restarts, kills, and
// destinations that come back in another shape. Half of them catch up with gaps. The service checks limits and order all the time. The ledger adds up at
// each step and counts no more events as delivered than the service holds. At the end every event has arrived, is a
// dead letter or was dropped, and no event arrived twice without a reason.
func TestFaultSchedules(t *testing.T) {
	count := uint64(*schedules)
	if testing.Short() {
		count = min(count, 20)
	}
	for seed := range count {
		seed += *scheduleSeed
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newSchedule(t, seed).run() })
		})
	}
}

// schedule is one history: its faults, and the events that may arrive twice because of them.
type schedule struct {
	*rig
	rand   *rand.Rand
	keys   int
	poison int // one of so many events is rejected for good; 0: none

	regime  regime
	low     uint8 // first of the lanes that regime outage throttles
	blame   int   // how the service reports a poison record
	doubt   map[string]bool
	at      map[string]time.Time // when a payload was stored
	longest time.Duration        // limit of a sleep
	drops   drops
	others  []shipper.Shape // other shapes that the destination may have after a restart
	waiting sync.WaitGroup  // producers that wait for their events

	generation int // number of reshards so far
}

// drops is the reason why events may be dropped.
type drops int

const (
	noDrops   drops = iota
	tooOld          // max_age
	fullLog         // drop_oldest, of all streams
	fullShare       // drop_oldest, of the stream's share
	dropKinds
)

// regime is the behavior of the service for a while.
type regime int

const (
	healthy  regime = iota
	slowDown        // records are throttled at random
	internal        // records fail at random
	flaky           // requests fail at random, half of them after their records were stored
	mute            // requests time out, half of them after their records were stored
	garbled         // responses lack a result at random
	outage          // some lanes' records are throttled
	down            // requests fail
	locked          // an operator is needed
	hung            // requests get no response until they are cut off, half of them after their records were stored
	regimes
)

// kinds are the shapes between which a destination may change: the service checks the order of all of them alike.
var kinds = []string{"kinesis", "firehose", "firehose, one key", "gzip", "kinesis, envelope", "file, envelope"}

func newSchedule(t *testing.T, seed uint64) *schedule {
	r := rand.New(rand.NewPCG(seed, 0x5eed))
	names := slices.Sorted(maps.Keys(shapes()))
	name := names[r.IntN(len(names))]
	shape := shapes()[name]
	if shape.WholeOrder { // one record a batch, because it stores a whole batch or nothing
		shape.AimRecord = shape.MaxBatch
	}
	s := &schedule{
		rand: r, keys: 1 + r.IntN(40), blame: r.IntN(3),
		doubt: make(map[string]bool), at: make(map[string]time.Time),
		longest: []time.Duration{time.Second, time.Minute, 6 * time.Hour}[r.IntN(3)],
	}
	if r.IntN(2) == 0 {
		s.poison = 20 + r.IntN(200)
	}
	if r.IntN(2) == 0 {
		s.drops = drops(r.IntN(int(dropKinds)))
	}
	if slices.Contains(kinds, name) {
		for _, kind := range kinds {
			s.others = append(s.others, shapes()[kind])
		}
	}
	svc := newService(t, shape)
	svc.gaps = s.drops != noDrops
	svc.rand, svc.faults, svc.kept, svc.twice = rand.New(rand.NewPCG(seed, 2)), s.fault, s.kept, s.twice
	if shape.ByShard {
		svc.real = shardsAt(0, 0, 128)
		svc.known, svc.reshard = svc.real, s.reshard
	}
	svc.delay = time.Duration(1+r.IntN(200)) * time.Millisecond
	s.rig = &rig{t: t, dir: fastDir(t), svc: svc, opts: shipper.Options{
		MaxDelay: time.Duration(1+r.IntN(1000)) * time.Millisecond,
		Memory:   32 << r.IntN(8) << 10,
		InFlight: r.IntN(5),
		Retry:    shipper.Retry{Timeout: []time.Duration{5 * time.Second, 10 * time.Minute}[r.IntN(2)]},
	}}
	s.setPolicy()
	s.between = s.reshape
	s.log, s.dead = s.open(), deadletter.Open(s.dir, deadletter.Options{})
	s.src = &source{t: t, log: s.log, n: make(map[string]int)}
	s.svc.gapped = r.IntN(2) == 0
	s.catchUp()
	return s
}

// setPolicy draws the policy for dropping events.
func (s *schedule) setPolicy() {
	switch s.drops {
	case tooOld:
		s.policy.MaxAge = time.Duration(1+s.rand.IntN(600)) * time.Second
	case fullLog:
		s.wal = wal.Options{MaxSize: int64(1+s.rand.IntN(2)) << 20, OnFull: wal.DropOldest}
	case fullShare:
		s.policy.MaxSize, s.policy.OnFull = int64(256+s.rand.IntN(256))<<10, wal.DropOldest
	}
}

func (s *schedule) run() {
	s.start()
	for range 5 + s.rand.IntN(20) {
		s.turn(regime(s.rand.IntN(int(regimes))))
		for range 1 + s.rand.IntN(8) {
			s.burst()
			s.check("running")
		}
		time.Sleep(time.Duration(s.rand.Int64N(int64(s.longest))))
		switch s.rand.IntN(8) {
		case 0:
			s.restart()
		case 1:
			s.kill()
		case 2:
			s.check("before a copy")
			killAndFinish(s.t, s.rig, s.svc.shape, s.refuse)
		}
		s.check("later")
	}
	s.turn(healthy)
	st := s.finish()
	s.waiting.Wait()
	if want := uint64(s.refusedSent()); st.Dead.Events > want || s.drops == noDrops && st.Dead.Events < want {
		s.t.Errorf("got %d dead events, want %d", st.Dead.Events, want)
	}
}

// check compares the ledger with the events that the service holds.
func (s *schedule) check(when string) {
	synctest.Wait()
	ledgerAdds(s.t, when, s.place().Stat(), s.svc)
}

// refuse makes another service reject the same events as this one.
func (s *schedule) refuse(svc *service) {
	s.svc.mu.Lock()
	defer s.svc.mu.Unlock()
	maps.Copy(svc.refused, s.svc.refused)
}

// turn changes the behavior of the service.
func (s *schedule) turn(to regime) {
	s.svc.mu.Lock()
	defer s.svc.mu.Unlock()
	s.regime, s.low = to, uint8(s.rand.IntN(wal.Lanes))
}

// reshard sometimes replaces the shards of the service; s.svc.mu is held.
func (s *schedule) reshard() {
	if r := s.svc.rand; r.IntN(10) == 0 {
		s.generation++
		s.svc.real = shardsAt(s.generation, 0, 1+r.IntN(100), 128+r.IntN(100))
	}
}

// burst appends some events, after it has chosen the ones that the service will reject.
func (s *schedule) burst() {
	key, count, size := fmt.Sprint("k", s.rand.IntN(s.keys)), 1+s.rand.IntN(12), 0
	if s.drops >= fullLog {
		count, size = 1+s.rand.IntN(40), s.rand.IntN(3000)
	}
	s.svc.mu.Lock()
	for n := range count {
		if s.poison > 0 && s.rand.IntN(s.poison) == 0 {
			s.svc.refused[fmt.Sprintf("%s %d", key, s.src.n[key]+n+1)] = true
		}
	}
	s.svc.mu.Unlock()
	began := time.Now()
	s.src.append(key, count, size)
	longest := longestOfAll
	if s.drops == fullShare {
		longest = longestOfOne
	}
	if took := time.Since(began); took > longest {
		s.t.Errorf("an append took %s, want at most %s", took, longest)
	}
	s.await(key)
}

// The longest times that an append may wait for a drop that frees space, in any state of the destination: longestOfAll
// if the appends to every stream wait, longestOfOne if only the appends to the destination's own stream do.
const (
	longestOfAll = 1500 * time.Millisecond
	longestOfOne = 6 * time.Second
)

// await sometimes starts a producer that waits until its last event is settled.
func (s *schedule) await(key string) {
	if s.rand.IntN(4) > 0 {
		return
	}
	log, n := s.log, s.src.n[key]
	last := wal.Appended{First: log.Next("s") - 1, Count: 1}
	s.waiting.Go(func() {
		delivered, err := log.WaitSettled(context.Background(), "s", last)
		if err == nil && delivered && !s.svc.has(key, n) {
			s.t.Errorf("event %d of key %q is told as delivered, and the service does not hold it", n, key)
		}
	})
}

// refusedSent returns the number of sent events that the service rejects.
func (s *schedule) refusedSent() int { return len(s.svc.refused) }

// kill ends the agent as kill -9 does: only the present contents of the disk survive. Some of the requests in flight
// arrive.
func (s *schedule) kill() {
	synctest.Wait()
	dir := fastDir(s.t)
	if err := os.CopyFS(dir, os.DirFS(s.dir)); err != nil {
		s.t.Fatal(err)
	}
	s.svc.mu.Lock()
	killed := time.Now()
	for payload, at := range s.at {
		if killed.Sub(at) <= wal.CheckpointInterval {
			s.doubt[payload] = true
		}
	}
	s.svc.mu.Unlock()
	s.stop()
	<-s.done
	if err := s.log.Close(); err != nil {
		s.t.Error(err)
	}
	if err := s.dead.Close(); err != nil {
		s.t.Error(err)
	}
	s.dir = dir
	s.log, s.dead = s.open(), deadletter.Open(dir, deadletter.Options{})
	s.src.log = s.log
	s.svc.mu.Lock()
	s.svc.late = true
	s.svc.mu.Unlock()
	s.reshape()
	s.start()
}

// catchUp draws how the destination catches up after an outage from now on.
func (s *schedule) catchUp() {
	s.opts.CatchUp = shipper.CatchUp{}
	if s.svc.gapped && s.rand.IntN(4) > 0 {
		if s.opts.CatchUp.Latest = s.rand.IntN(2) == 0; s.opts.CatchUp.Latest {
			s.svc.scattered = true
			return
		}
		s.opts.CatchUp.FreshShare = 0.05 + 0.9*s.rand.Float64()
	}
}

// reshape draws the shape, and the way to catch up, that the destination has after a restart.
func (s *schedule) reshape() {
	s.catchUp()
	if len(s.others) > 0 && s.rand.IntN(2) == 0 {
		s.svc.shape = s.others[s.rand.IntN(len(s.others))]
	}
}

// kept is called with each stored payload; s.svc.mu is held.
func (s *schedule) kept(payload string, told bool) {
	s.at[payload] = time.Now()
	if !told {
		s.doubt[payload] = true
	}
}

// twice is called with a payload that was stored again; s.svc.mu is held.
func (s *schedule) twice(payload string) {
	if !s.doubt[payload] {
		s.t.Errorf("event %q arrived twice, and was neither in flight nor delivered within %s before a kill", payload, wal.CheckpointInterval)
	}
}

// fault draws the fault of a request; s.svc.mu is held.
func (s *schedule) fault(r *rand.Rand, batch []shipper.Record) (f fault) {
	if err := s.poisonError(batch); err != nil {
		return fault{err: err}
	}
	coin := r.IntN(2) == 0
	switch s.regime {
	case slowDown:
		f.failed = someFail(r, batch, shipper.Throttled)
	case internal:
		f.failed = someFail(r, batch, shipper.Transient)
	case flaky:
		if r.IntN(3) > 0 {
			f.err, f.stored = failure(shipper.Transient, "500"), coin
		}
	case mute:
		f.err, f.stored = failure(shipper.Transient, shipper.CodeTimeout), coin
	case garbled:
		f.short = coin
	case outage:
		f.failed = s.outOf(batch)
	case down:
		f.err = failure(shipper.Transient, "connection")
	case hung:
		f.hang, f.stored = true, coin
	case locked:
		f.err = failure(shipper.Operator, "AccessDeniedException")
	default:
		f.stored = coin // in case the request is cut off
	}
	return f
}

// poisonError rejects a whole request for a poison record, with or without the record's index, or returns nil and
// leaves the rejection to the record's own result.
func (s *schedule) poisonError(batch []shipper.Record) *shipper.Error {
	if s.blame == 0 || s.poison == 0 {
		return nil
	}
	for i, record := range batch {
		for _, payloads := range s.svc.contents(record) {
			for _, p := range payloads {
				if s.svc.refused[p] {
					err := failure(shipper.Poison, "ValidationException")
					if s.blame == 1 {
						err.Record = i
					}
					return err
				}
			}
		}
	}
	return nil
}

// outOf throttles the records of a quarter of the lanes, from s.low on.
func (s *schedule) outOf(batch []shipper.Record) map[int]*shipper.Error {
	failed := make(map[int]*shipper.Error)
	for i, record := range batch {
		for key := range s.svc.contents(record) {
			if (wal.LaneOf(key)-s.low)%wal.Lanes < wal.Lanes/4 {
				failed[i] = failure(shipper.Throttled, "ProvisionedThroughputExceededException")
			}
		}
	}
	return failed
}

func someFail(r *rand.Rand, batch []shipper.Record, class shipper.Class) map[int]*shipper.Error {
	failed := make(map[int]*shipper.Error)
	for i := range batch {
		if r.IntN(3) == 0 {
			failed[i] = failure(class, "slow")
		}
	}
	return failed
}

func failure(class shipper.Class, code string) *shipper.Error {
	return &shipper.Error{Class: class, Code: code, Record: -1}
}
