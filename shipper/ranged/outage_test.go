package ranged_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// After an outage the report has its end until all events that came before it are settled, whatever the step that failed, and the
// log has a line then. A short outage leaves it out.
func TestReport_CatchingUpOfRanges(t *testing.T) {
	for _, step := range []string{"add", "commit"} {
		for _, outage := range []time.Duration{8 * time.Second, time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, wal.Options{}, 20, time.Second)
				var away atomic.Bool
				r.halt(time.Second)
				r.more.Retry = shipper.Retry{Max: time.Second}
				r.sink.fault = func(now string) fault {
					if away.Load() && now == step {
						return fault{err: fails(shipper.Transient)}
					}
					return fault{delay: 500 * time.Millisecond}
				}
				r.open()
				r.append(20, 100)
				time.Sleep(2 * time.Second)
				away.Store(true)
				r.append(400, 100)
				time.Sleep(outage)
				if got := r.ship.Report(); !got.CatchingUp.IsZero() || got.State != shipper.Waiting {
					t.Errorf("%s, during %s: got %+v, want that it fails and does not catch up", step, outage, got)
				}
				away.Store(false)
				back := time.Now()
				time.Sleep(5 * time.Second)
				r.append(10, 100)
				got := r.ship.Report()
				if long := outage >= 10*time.Second; !long && !got.CatchingUp.IsZero() ||
					long && (got.CatchingUp.Before(back) || got.CatchingUp.After(back.Add(3*time.Second))) {
					t.Errorf("%s, after %s: got %+v at %s, want that it catches up after an outage of 10 s only", step, outage, got, back)
				}
				for settled := uint64(0); settled < 420; settled = r.cursor.Stat().Delivered.Events {
					time.Sleep(100 * time.Millisecond)
				}
				time.Sleep(time.Second)
				if got := r.ship.Report(); !got.CatchingUp.IsZero() {
					t.Errorf("%s, at the end: got %+v, want that it has caught up", step, got)
				}
				r.want("the destination has caught up", int(outage/time.Minute))
				r.finish()
			})
		}
	}
}

// A proxy rejected two destinations, and takes the requests of the first one again: one that adds to a range shows that as well as one
// that ends it. So the first one does not wait for its turn beside the second, also if its range stays open.
func TestRange_AnAddThatGetsThroughEndsTheTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rejected := fails(shipper.Transient)
		rejected.Between = true
		var away atomic.Bool
		away.Store(true)
		rigs := make([]*rig, 2)
		shared := shipper.NewLink(0)
		for i := range rigs {
			r := newRig(t, wal.Options{}, 1000, 20*time.Second)
			r.halt(time.Second)
			r.more.Link, r.more.Endpoint = shared, "https://there"
			r.sink.fault = func(now string) fault {
				if away.Load() && now == "add" {
					return fault{err: rejected}
				}
				return fault{delay: 5 * time.Millisecond}
			}
			if i == 1 {
				r.sink.fault = func(string) fault { return fault{err: rejected} }
			}
			r.open()
			r.append(10, 100)
			rigs[i] = r
		}
		first, second := rigs[0], rigs[1]
		time.Sleep(time.Minute)
		away.Store(false)
		for first.ship.Report().State != shipper.Running {
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(21 * time.Second) // the range is open for 20 s
		if st := first.cursor.Stat(); st.Pending.Events > 0 {
			t.Errorf("got %+v, want all delivered beside a destination that is rejected", st)
		}
		first.finish()
		second.halt(time.Second)
	})
}
