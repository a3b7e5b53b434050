package shipper_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

func TestWhereOrderDoesNotMatterOneKeyFillsABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t, anyShape())
		r := newRig(t, svc)
		r.src.send("k1", 100)
		r.finish()
		if want := 100 / svc.shape.BatchRecords; svc.requests != want {
			t.Errorf("got %d requests for 100 events of one key, want %d", svc.requests, want)
		}
	})
}

func TestWhatFailsWhereOrderDoesNotMatterIsSentAgainAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t, anyShape())
		once := true
		svc.faults = func(*rand.Rand, []shipper.Record) (f fault) {
			if once {
				once = false
				f.failed = map[int]*shipper.Error{2: {Class: shipper.Throttled, Code: "slow", Record: -1}}
			}
			return f
		}
		r := newRig(t, svc)
		r.src.send("k1", 30)
		r.finish()
		if once || svc.again != 0 {
			t.Errorf("%d events arrived twice; fault used: %v", svc.again, !once)
		}
	})
}

// The events of a lane's keys are mixed in the log. A request that carries one key nevertheless gathers all waiting
// events of that key. Events after the first key's last event are sent in a second round.
func TestStrictOrderGathersAKeyFromBetweenTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t, strictShape())
		r := newRig(t, svc)
		keys := sameLane(4)
		for i := range 40 {
			r.src.send(keys[i%4], 1)
		}
		time.Sleep(5 * time.Second)
		st := r.finish()
		if st.Records > 4+3 || svc.again != 0 {
			t.Errorf("got %d records for 40 events of 4 keys, %d events twice", st.Records, svc.again)
		}
	})
}

func TestStrictOrderSendsForManyLanesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t, strictShape())
		svc.delay = time.Second
		r := newRig(t, svc)
		for i := range 1000 {
			r.src.send(fmt.Sprint("k", i), 1)
		}
		begin := time.Now()
		r.finish()
		if got := time.Since(begin); got > time.Minute {
			t.Errorf("1000 requests of 1 s each took %v on 64 lanes", got)
		}
	})
}

// A lane that is rejected for ever does not stop the others.
func TestAStrictLaneThatIsRefusedHoldsBackNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t, strictShape())
		stuck := true
		svc.faults = refuseKey("k3", &stuck)
		r := newRig(t, svc)
		for i := range 300 {
			r.src.send(fmt.Sprint("k", i%10), 1)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got, want := svc.total, 270; got != want {
			t.Errorf("%d events arrived while one key is stuck, want %d", got, want)
		}
		stuck = false
		r.finish()
	})
}

// sameLane returns n keys of the same lane.
func sameLane(n int) (keys []string) {
	for i := 0; len(keys) < n; i++ {
		if key := fmt.Sprint("k", i); wal.LaneOf(key) == wal.LaneOf("k0") {
			keys = append(keys, key)
		}
	}
	return keys
}

// refuseKey fails the records of a key while stuck is true.
func refuseKey(key string, stuck *bool) func(*rand.Rand, []shipper.Record) fault {
	return func(_ *rand.Rand, batch []shipper.Record) (f fault) {
		f.failed = make(map[int]*shipper.Error)
		for i, rec := range batch {
			if *stuck && rec.Key == key {
				f.failed[i] = &shipper.Error{Class: shipper.Throttled, Code: "slow", Record: -1}
			}
		}
		return f
	}
}

// A key that has all events fills whole batches.
func TestBatch_HasARunOfAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t, runsShape())
		r := newRig(t, svc)
		r.src.send("k", 900)
		if r.finish(); svc.requests > 40 {
			t.Errorf("900 events of a key took %d requests, want about 30", svc.requests)
		}
	})
}
