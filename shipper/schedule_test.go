package shipper_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

var (
	schedules    = flag.Int("schedules", 60, "how many fault schedules TestFaultSchedules runs")
	scheduleSeed = flag.Uint64("schedule.seed", 1, "the first schedule's seed; the others follow it")
)

// TestFaultSchedules runs the log and the shipper against the model service through minutes to days of
// virtual time: bursts of events, every kind of fault, clean restarts and kills. The service checks
// limits and order as it goes; at the end everything has arrived or is a dead letter, and nothing arrived
// twice but for a reason.
func TestFaultSchedules(t *testing.T) {
	for seed := range uint64(*schedules) {
		seed += *scheduleSeed
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newSchedule(t, seed).run() })
		})
	}
}

// schedule is one history: what happens, and what may arrive twice because of it.
type schedule struct {
	*rig
	rand   *rand.Rand
	keys   int
	poison int // of so many events one is refused for good; 0: none

	regime  regime
	low     uint8 // of the lanes that regime outage stops
	blame   int   // how the service says that a record is poison
	doubt   map[string]bool
	at      map[string]time.Time // when a payload was stored
	longest time.Duration        // of a sleep

	generation int // of the service's shards
}

// regime is how the service behaves for a while.
type regime int

const (
	healthy  regime = iota
	slowDown        // records are throttled at random
	internal        // records fail at random
	flaky           // requests fail at random, half of them after they were stored
	mute            // requests time out, half of them after they were stored
	garbled         // replies have a result too few at random
	outage          // some lanes' records are throttled
	down            // requests fail
	locked          // an operator is needed
	regimes
)

func newSchedule(t *testing.T, seed uint64) *schedule {
	r := rand.New(rand.NewPCG(seed, 0x5eed))
	names := slices.Sorted(maps.Keys(shapes()))
	shape := shapes()[names[r.IntN(len(names))]]
	s := &schedule{
		rand: r, keys: 1 + r.IntN(40), blame: r.IntN(3),
		doubt: make(map[string]bool), at: make(map[string]time.Time),
		longest: []time.Duration{time.Second, time.Minute, 6 * time.Hour}[r.IntN(3)],
	}
	if r.IntN(2) == 0 {
		s.poison = 20 + r.IntN(200)
	}
	svc := newService(t, shape)
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
		Retry:    shipper.Retry{Timeout: 5 * time.Second},
	}}
	s.log, s.dead = openLog(t, s.dir), wal.OpenDead(s.dir)
	s.src = &source{t: t, log: s.log, n: make(map[string]int)}
	return s
}

func (s *schedule) run() {
	s.start()
	for range 5 + s.rand.IntN(20) {
		s.turn(regime(s.rand.IntN(int(regimes))))
		for range 1 + s.rand.IntN(8) {
			s.burst()
		}
		time.Sleep(time.Duration(s.rand.Int64N(int64(s.longest))))
		switch s.rand.IntN(8) {
		case 0:
			s.restart()
		case 1:
			s.kill()
		}
	}
	s.turn(healthy)
	st := s.finish()
	if want := s.refusedSent(); st.Dead.Events != uint64(want) {
		s.t.Errorf("got %d dead events, want %d", st.Dead.Events, want)
	}
}

// turn changes how the service behaves.
func (s *schedule) turn(to regime) {
	s.svc.mu.Lock()
	defer s.svc.mu.Unlock()
	s.regime, s.low = to, uint8(s.rand.IntN(wal.Lanes))
}

// reshard now and then gives the service other shards; s.svc.mu is held.
func (s *schedule) reshard() {
	if r := s.svc.rand; r.IntN(10) == 0 {
		s.generation++
		s.svc.real = shardsAt(s.generation, 0, 1+r.IntN(100), 128+r.IntN(100))
	}
}

// burst appends some events; those that will be refused are known beforehand.
func (s *schedule) burst() {
	key, count := fmt.Sprint("k", s.rand.IntN(s.keys)), 1+s.rand.IntN(12)
	s.svc.mu.Lock()
	for n := range count {
		if s.poison > 0 && s.rand.IntN(s.poison) == 0 {
			s.svc.refused[fmt.Sprintf("%s %d", key, s.src.n[key]+n+1)] = true
		}
	}
	s.svc.mu.Unlock()
	s.src.send(key, count)
}

// refusedSent is how many events were sent that the service refuses.
func (s *schedule) refusedSent() int { return len(s.svc.refused) }

// kill ends the agent as kill -9 does: what the disk holds now is all that is left of it. Of the requests
// under way some arrive.
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
	s.log, s.dead = openLog(s.t, dir), wal.OpenDead(dir)
	s.src.log = s.log
	s.start()
}

// kept notes a payload that was stored; s.svc.mu is held.
func (s *schedule) kept(payload string, told bool) {
	s.at[payload] = time.Now()
	if !told {
		s.doubt[payload] = true
	}
}

// twice is told of a payload that came again; s.svc.mu is held.
func (s *schedule) twice(payload string) {
	if !s.doubt[payload] {
		s.t.Errorf("event %q arrived twice, and was neither in flight nor delivered within %s before a kill", payload, wal.CheckpointInterval)
	}
}

// fault decides what becomes of a request; s.svc.mu is held.
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
	case locked:
		f.err = failure(shipper.Operator, "AccessDeniedException")
	default:
		f.stored = coin // should the request be cut off
	}
	return f
}

// poisonError refuses a whole request for a record in it, by name or without saying which, or leaves it to
// the record's own result.
func (s *schedule) poisonError(batch []shipper.Record) *shipper.Error {
	if s.blame == 0 || s.poison == 0 {
		return nil
	}
	for i, record := range batch {
		for _, payloads := range keysOf(s.t, s.svc.shape, record) {
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

// outOf throttles the records of a quarter of the lanes.
func (s *schedule) outOf(batch []shipper.Record) map[int]*shipper.Error {
	failed := make(map[int]*shipper.Error)
	for i, record := range batch {
		for key := range keysOf(s.t, s.svc.shape, record) {
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
