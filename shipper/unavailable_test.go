package shipper_test

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

// unavailable is a service whose requests can fail as a whole.
type unavailable struct {
	*service
	err   *atomic.Pointer[shipper.Error] // nil: they do not
	tries *atomic.Int64
}

func (f *unavailable) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	err := f.err.Load()
	if err == nil {
		return f.service.Send(ctx, batch)
	}
	f.tries.Add(1)
	time.Sleep(20 * time.Millisecond)
	response := shipper.Response{Err: err, Code: err.Code}
	if !err.Unreached {
		response.Sent = 1000
	}
	return response
}

// After an outage of any length, all destinations of an endpoint deliver again within a fixed part of that length, whether the
// service could not be reached or rejected every request. After rejections that is at most twice as long.
func TestUnavailable_RecoversLikeOutOfReach(t *testing.T) {
	const seed = 20
	random := rand.New(rand.NewPCG(seed, 1))
	kinds := []*shipper.Error{
		{Class: shipper.Transient, Code: "connection", Record: -1, Unreached: true},
		{Class: shipper.Throttled, Code: "ServiceUnavailableException", Record: -1},
		{Class: shipper.Transient, Code: "InternalFailure", Record: -1},
		{Class: shipper.Transient, Code: "502", Record: -1, Between: true},
		{Class: shipper.Throttled, Code: "503", Record: -1, Between: true},
	}
	sum := make([]time.Duration, len(kinds))
	for range 12 {
		outage := 2*time.Second + time.Duration(random.Int64N(int64(58*time.Second)))
		destinations := []int{1, 5, 20}[random.IntN(3)]
		for kind, err := range kinds {
			var took time.Duration
			var tries int64
			synctest.Test(t, func(t *testing.T) { took, tries = recoveryOfAll(t, destinations, outage, err) })
			sum[kind] += took
			t.Logf("seed %d: %d destinations, %s after %s: all after %s, %d requests", seed, destinations, err.Code, outage, took, tries)
			// A part of the outage, the second after its last failure in which a destination does not try again, and its request.
			if most := outage/8 + 1500*time.Millisecond; took > most {
				t.Errorf("seed %d: %d destinations, %s after %s: all take events again after %s, want at most %s", seed, destinations, err.Code, outage, took, most)
			}
		}
	}
	t.Logf("sum: %v", sum)
}

// recoveryOfAll returns the time from the end of an outage until every destination has delivered an event, and the number of
// requests that the service rejected.
func recoveryOfAll(t *testing.T, destinations int, outage time.Duration, err *shipper.Error) (time.Duration, int64) {
	link := shipper.NewLink(0)
	var fails atomic.Pointer[shipper.Error]
	var tries atomic.Int64
	var rigs []*rig
	for range destinations {
		svc := newService(t, firehoseShape())
		r := &rig{t: t, svc: svc, sink: &unavailable{svc, &fails, &tries}, opts: shipper.Options{Link: link, Endpoint: "e", MaxDelay: 50 * time.Millisecond}}
		r.inMemory()
		r.start()
		r.src.send("k", 1)
		rigs = append(rigs, r)
	}
	time.Sleep(5 * time.Second)
	fails.Store(err)
	for _, r := range rigs {
		r.src.send("k", 1)
	}
	time.Sleep(outage)
	fails.Store(nil)
	began := time.Now()
	for _, r := range rigs {
		for r.svc.arrived() < 2 && time.Since(began) < time.Hour {
			time.Sleep(10 * time.Millisecond)
		}
	}
	took := time.Since(began)
	for _, r := range rigs {
		r.finish()
	}
	return took, tries.Load()
}

// While a proxy rejects the requests of all destinations of an endpoint, twenty of them have little more than the requests of one.
// An error of the service itself may concern one stream, so each tries for itself then.
func TestUnavailable_OneTriesForAllBehindAProxy(t *testing.T) {
	const outage = 10 * time.Minute
	for _, err := range []*shipper.Error{
		{Class: shipper.Transient, Code: "502", Record: -1, Between: true},
		{Class: shipper.Throttled, Code: "503", Record: -1, Between: true},
		{Class: shipper.Throttled, Code: "ServiceUnavailableException", Record: -1},
	} {
		tries := func(destinations int) (n int64) {
			synctest.Test(t, func(t *testing.T) {
				var took time.Duration
				if took, n = recoveryOfAll(t, destinations, outage, err); took > 35*time.Second {
					t.Errorf("%s: %d destinations take events again after %s, want that after the longest delay, 30 s", err.Code, destinations, took)
				}
			})
			return n
		}
		one, twenty := tries(1), tries(20)
		t.Logf("%s: %d requests of one destination, %d of twenty", err.Code, one, twenty)
		switch {
		case err.Between && twenty > 2*one+20:
			t.Errorf("%s: got %d requests of one destination, %d of twenty; want that one tries for all after its first request", err.Code, one, twenty)
		case !err.Between && twenty < 10*one:
			t.Errorf("%s: got %d requests of one destination, %d of twenty; want that each tries for itself", err.Code, one, twenty)
		}
	}
}
