package shipper_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

// remote is a service that can be out of reach.
type remote struct {
	*service
	away  *atomic.Bool
	tries *atomic.Int64
}

func (r *remote) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	r.tries.Add(1)
	if !r.away.Load() {
		response := r.service.Send(ctx, batch)
		response.Sent = 1000
		return response
	}
	return shipper.Response{Err: &shipper.Error{Class: shipper.Transient, Code: "connection", Record: -1, Unreached: true}, Code: "connection"}
}

// Destinations of one endpoint that is out of reach try it together no more often than one would. All of them are waiting
// with the error, and deliver at once when one got through.
func TestOutOfReach_OneTriesForAll(t *testing.T) {
	tries := make(map[int]int64)
	for _, destinations := range []int{1, 20} {
		synctest.Test(t, func(t *testing.T) {
			link := shipper.NewLink(0)
			var away atomic.Bool
			var count atomic.Int64
			var rigs []*rig
			for range destinations {
				svc := newService(t, firehoseShape())
				r := &rig{t: t, svc: svc, sink: &remote{svc, &away, &count}, opts: shipper.Options{Link: link, Endpoint: "e"}}
				r.inMemory()
				r.start()
				rigs = append(rigs, r)
			}
			send := func() {
				for _, r := range rigs {
					r.src.send("k", 1)
				}
				time.Sleep(time.Second)
				synctest.Wait()
			}
			send()
			away.Store(true)
			count.Store(0)
			for range 600 {
				send()
			}
			tries[destinations] = count.Load()
			for i, r := range rigs {
				if got := r.ship.Report(); got.State != shipper.Waiting || got.LastError == "" {
					t.Errorf("destination %d: got %+v, want that it waits with an error", i, got)
				}
			}
			away.Store(false)
			time.Sleep(33 * time.Second) // the longest delay, and the requests
			synctest.Wait()
			for i, r := range rigs {
				if got := r.svc.arrived(); got != 601 {
					t.Errorf("destination %d: got %d events, want 601", i, got)
				}
				r.finish()
			}
		})
	}
	if tries[20] > tries[1]*5/4 || tries[1] < 10 {
		t.Errorf("in ten minutes: got %d tries of 20 destinations, %d of one", tries[20], tries[1])
	}
}

// dialed is a service of several destinations. Connecting to it takes a second; the first connection may hang.
type dialed struct {
	*service
	dials *atomic.Int64
	away  *atomic.Bool
	hangs bool
}

func (d *dialed) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	err := &shipper.Error{Class: shipper.Transient, Code: "connection", Record: -1}
	if d.dials.Add(1) == 1 && d.hangs {
		<-ctx.Done()
		return shipper.Response{Err: err, Code: "connection"}
	}
	time.Sleep(time.Second)
	if d.away.Load() {
		err.Unreached = true
		return shipper.Response{Err: err, Code: "connection"}
	}
	return d.service.Send(ctx, batch)
}

// At the start one of 20 destinations connects to an endpoint. The others follow when it was reached, wait with its error
// when it was not, and do not wait for longer than fifteen seconds when the first connection hangs.
func TestOutOfReach_OneConnectsFirst(t *testing.T) {
	const destinations = 20
	for name, test := range map[string]struct {
		away, hangs bool
		after       time.Duration
		dials       int64
		arrived     int
	}{
		"first":   {after: 500 * time.Millisecond, dials: 1},
		"reached": {after: 2500 * time.Millisecond, dials: destinations, arrived: destinations},
		"away":    {away: true, after: 1050 * time.Millisecond, dials: 1},
		"hangs":   {hangs: true, after: 16500 * time.Millisecond, dials: destinations, arrived: destinations - 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			link := shipper.NewLink(0)
			var dials atomic.Int64
			var away atomic.Bool
			away.Store(test.away)
			var rigs []*rig
			for range destinations {
				svc := newService(t, firehoseShape())
				r := &rig{t: t, svc: svc, sink: &dialed{svc, &dials, &away, test.hangs},
					opts: shipper.Options{Link: link, Endpoint: "e", MaxDelay: time.Millisecond}}
				r.inMemory()
				r.src.send("k", 1)
				r.start()
				rigs = append(rigs, r)
			}
			time.Sleep(test.after)
			synctest.Wait()
			arrived := 0
			for i, r := range rigs {
				arrived += r.svc.arrived()
				if got := r.ship.Report(); test.away != (got.State == shipper.Waiting && got.LastError != "") {
					t.Errorf("%s: destination %d: got %+v", name, i, got)
				}
			}
			if got := dials.Load(); got != test.dials || arrived != test.arrived {
				t.Errorf("%s, after %s: got %d connections and %d events, want %d and %d", name, test.after, got, arrived, test.dials, test.arrived)
			}
			away.Store(false)
			for _, r := range rigs {
				r.finish()
			}
		})
	}
}

// When the link is set down, nothing is sent. When it is set up, everything is, without a wait for a backoff.
func TestLinkNews_DownAndUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := shipper.NewLink(0)
		var away atomic.Bool
		var count atomic.Int64
		svc := newService(t, firehoseShape())
		r := &rig{t: t, svc: svc, sink: &remote{svc, &away, &count}, opts: shipper.Options{Link: link}}
		r.inMemory()
		r.start()
		link.SetDown(&shipper.Error{Class: shipper.Transient, Code: "link down", Record: -1, Unreached: true})
		r.src.send("k", 10)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if got := r.ship.Report(); count.Load() != 0 || got.State != shipper.Waiting || got.LastError != "link down" {
			t.Errorf("down: got %d requests, %+v", count.Load(), got)
		}
		link.SetUp()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := svc.arrived(); got != 10 {
			t.Errorf("up: got %d events after a second, want 10", got)
		}

		// An endpoint that was long out of reach is tried at once.
		away.Store(true)
		r.src.send("k", 10)
		time.Sleep(time.Hour)
		away.Store(false)
		before := count.Load()
		link.SetUp()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := svc.arrived(); got != 20 || count.Load() == before {
			t.Errorf("up again: got %d events after a second, want 20", got)
		}
		r.finish()
	})
}
