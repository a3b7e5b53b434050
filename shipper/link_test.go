package shipper_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

// linkRig returns a rig with a backlog of that many events of 300 bytes.
func linkRig(t *testing.T, o shipper.Options, backlog int) *rig {
	r := shardRig(t, newShards(t, 1, shipper.Quota{Bytes: 1 << 30, Records: 1 << 20}), o)
	if backlog > 0 {
		r.src.sendLong(backlog, 300, 200)
	}
	return r
}

// wired returns the number of body bytes that a rig's service has received.
func (r *rig) wired() int {
	r.svc.mu.Lock()
	defer r.svc.mu.Unlock()
	return r.svc.wired
}

func TestBandwidthIsKeptToAndSharedByPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 60_000
		link := shipper.NewLink(limit)
		var rigs []*rig
		for _, p := range []shipper.Priority{shipper.PriorityHigh, shipper.PriorityNormal, shipper.PriorityLow} {
			rigs = append(rigs, linkRig(t, shipper.Options{Link: link, Priority: p}, 30_000))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		high, normal, low := rigs[0].wired(), rigs[1].wired(), rigs[2].wired()
		t.Logf("in two minutes at %d bytes/s: high %d, normal %d, low %d", limit, high, normal, low)
		if sum := high + normal + low; sum > 121*limit+32<<10 || sum < 114*limit {
			t.Errorf("%d bytes went out in two minutes, want %d", sum, 120*limit)
		}
		if ratio := float64(high) / float64(normal); ratio < 3 || ratio > 5 {
			t.Errorf("high got %.1f times what normal did, want 4", ratio)
		}
		if ratio := float64(normal) / float64(low); ratio < 3 || ratio > 5 {
			t.Errorf("normal got %.1f times what low did, want 4", ratio)
		}
		if got := rigs[2].ship.Report(); got.Waits != shipper.WaitBandwidth || got.State != shipper.Running {
			t.Errorf("low: got %+v, want that it waits for bandwidth", got)
		}
		if rigs[2].ship.Stalled(time.Second) {
			t.Error("what waits for bandwidth is taken for stalled")
		}
		link.SetCap(0)
		for _, r := range rigs {
			r.finish()
		}
	})
}

// Idle shippers save up no bandwidth: one that was idle does not stop the others when it has events again.
func TestIdleBandwidthIsNobodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 60_000
		link := shipper.NewLink(limit)
		low := linkRig(t, shipper.Options{Link: link, Priority: shipper.PriorityLow}, 20_000)
		high := linkRig(t, shipper.Options{Link: link, Priority: shipper.PriorityHigh}, 0)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		alone := low.wired()
		if alone < 19*limit || alone > 21*limit+32<<10 {
			t.Errorf("alone, low got %d bytes in 20 s, want all of %d", alone, 20*limit)
		}
		high.src.sendLong(20_000, 300, 200)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := low.wired() - alone; got < limit/2 || got > 3*limit {
			t.Errorf("beside high, low got %d bytes in 20 s, want a 17th of %d", got, 20*limit)
		}
		link.SetCap(0)
		low.finish()
		high.finish()
	})
}

func TestADestinationsOwnBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 30_000
		link := shipper.NewLink(10 * limit)
		r := linkRig(t, shipper.Options{Link: link, Bandwidth: shipper.NewLink(limit)}, 10_000)
		other := linkRig(t, shipper.Options{Link: link}, 20_000)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := r.wired(); got > 21*limit+32<<10 || got < 19*limit {
			t.Errorf("got %d bytes in 20 s, want %d", got, 20*limit)
		}
		if got, want := other.wired(), 20*9*limit; got < want*9/10 {
			t.Errorf("the other got %d bytes, want what is left, %d", got, want)
		}
		r.finish()
		other.finish()
	})
}

// soonAfter is the longest time between the first success of a shipper and the next tries of the others: a second after
// their last try, the shortest backoff, and the duration of the requests.
const soonAfter = 1500 * time.Millisecond

// A link is down for an hour, and events arrive all the time. The first shipper gets through soon after the link is
// back, and the others don't wait out their own backoff.
func TestShippingGoesOnSoonAfterTheLinkIsBack(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			link := shipper.NewLink(0)
			back := time.Now().Add(time.Hour + time.Duration(seed)*7*time.Second)
			var rigs []*rig
			var mu sync.Mutex // guards tries and first
			var tries []time.Time
			first := make([]time.Duration, 4)
			for i := range first {
				r := linkRig(t, shipper.Options{Link: link}, 0)
				r.svc.faults = func(*rand.Rand, []shipper.Record) (f fault) {
					mu.Lock()
					defer mu.Unlock()
					if time.Now().Before(back) {
						tries = append(tries, time.Now())
						f.err = &shipper.Error{Class: shipper.Transient, Code: "connection", Record: -1}
					} else if first[i] == 0 {
						first[i] = time.Since(back)
					}
					return f
				}
				r.src.sendLong(500, 300, 200)
				rigs = append(rigs, r)
			}
			time.Sleep(time.Until(back) + time.Minute)
			synctest.Wait()
			t.Logf("first tries after the link is back: %v", first)
			earliest, latest := time.Hour, time.Duration(0)
			for i, r := range rigs {
				earliest, latest = min(earliest, first[i]), max(latest, first[i])
				if r.svc.total != 500 {
					t.Errorf("shipper %d: %d events arrived within a minute", i, r.svc.total)
				}
			}
			if earliest > 30*time.Second || latest-earliest > soonAfter {
				t.Errorf("the first after %v, the last after %v; want at most retry.max, and then all", earliest, latest)
			}
			if together := lockstep(tries); together > len(tries)/10 {
				t.Errorf("%d of %d tries came at the instant of another", together, len(tries))
			}
			for _, r := range rigs {
				r.finish()
			}
		})
	}
}

// A shipper failed at the last moment of an outage, or started a request during it that failed later. It once waited
// out its backoff, up to half a minute, because it took the notification that the link is back for an old one.
func TestAShipperThatHasJustFailedHearsThatTheLinkIsBack(t *testing.T) {
	for _, delay := range []time.Duration{20 * time.Millisecond, 5 * time.Second} {
		for range 5 {
			synctest.Test(t, func(t *testing.T) { failAtLast(t, delay) })
		}
	}
}

// failAtLast makes the requests of a shipper fail, each after delay. The last of them starts when another shipper is
// about to get through.
func failAtLast(t *testing.T, delay time.Duration) {
	const failing = 8
	link := shipper.NewLink(0)
	var mu sync.Mutex // guards the variables below
	tries, last, first := 0, time.Time{}, time.Duration(0)
	slow := linkRig(t, shipper.Options{Link: link}, 0)
	slow.svc.delay = delay
	slow.svc.faults = func(*rand.Rand, []shipper.Record) (f fault) {
		mu.Lock()
		defer mu.Unlock()
		if tries++; tries <= failing {
			last, f.err = time.Now().Add(delay), &shipper.Error{Class: shipper.Transient, Code: "connection", Record: -1}
		} else if first == 0 {
			first = time.Since(last)
		}
		return f
	}
	other := linkRig(t, shipper.Options{Link: link, Retry: shipper.Retry{Max: 200 * time.Millisecond}}, 0)
	other.svc.faults = func(*rand.Rand, []shipper.Record) (f fault) {
		mu.Lock()
		defer mu.Unlock()
		if tries < failing {
			f.err = &shipper.Error{Class: shipper.Transient, Code: "connection", Record: -1}
		}
		return f
	}
	slow.src.sendLong(10, 300, 200)
	other.src.sendLong(10, 300, 200)
	time.Sleep(5 * time.Minute)
	synctest.Wait()
	if first == 0 || first > soonAfter {
		t.Errorf("requests of %v: it tried %v after its last failure, though another has got through", delay, first)
	}
	slow.finish()
	other.finish()
}

// lockstep counts the tries, after the first round, that are less than a millisecond apart.
func lockstep(tries []time.Time) (n int) {
	for i := 4; i < len(tries)-1; i++ {
		if tries[i+1].Sub(tries[i]) < time.Millisecond {
			n++
		}
	}
	return n
}

// The backoff that the service requests has priority: a throttled shipper does not retry early after the success of
// another one.
func TestAThrottledShipperKeepsItsBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := shipper.NewLink(0)
		refuse := func(class shipper.Class) func(*rand.Rand, []shipper.Record) fault {
			return func(*rand.Rand, []shipper.Record) fault {
				return fault{err: &shipper.Error{Class: class, Code: "no", Record: -1, RetryAfter: 20 * time.Second}}
			}
		}
		slow := linkRig(t, shipper.Options{Link: link}, 0)
		slow.svc.faults = refuse(shipper.Throttled)
		slow.src.sendLong(10, 300, 200)
		time.Sleep(5 * time.Second)
		other := linkRig(t, shipper.Options{Link: link, Retry: shipper.Retry{Max: time.Second}}, 0)
		other.svc.faults = func(*rand.Rand, []shipper.Record) (f fault) {
			if other.svc.requests%2 == 1 {
				f.err = &shipper.Error{Class: shipper.Transient, Code: "connection", Record: -1}
			}
			return f
		}
		other.src.sendLong(10, 300, 200)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if other.svc.total != 10 || slow.svc.requests != 1 {
			t.Errorf("%d events of the other arrived; the throttled one tried %d times, want once", other.svc.total, slow.svc.requests)
		}
		slow.svc.mu.Lock()
		slow.svc.faults = nil
		slow.svc.mu.Unlock()
		slow.finish()
		other.finish()
	})
}
