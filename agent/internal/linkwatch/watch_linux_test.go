package linkwatch_test

import (
	"context"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/internal/linkwatch"
	"github.com/standpipe/standpipe/test/gateway"
	"github.com/standpipe/standpipe/test/testkit"
)

func TestDifference(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	before, now := map[netip.Addr]bool{a: true}, map[netip.Addr]bool{b: true}
	if got, want := linkwatch.Difference(before, now), (linkwatch.Change{Gone: []netip.Addr{a}, Come: []netip.Addr{b}}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := linkwatch.Difference(now, now); !reflect.DeepEqual(got, linkwatch.Change{}) {
		t.Errorf("equal sets: got %+v, want no change", got)
	}
}

// The device of a host goes down and up: its address goes and comes. Loopback is no address of the host.
func TestRun_AddressesGoAndCome(t *testing.T) {
	w := gateway.Open(t, gateway.Quality{Rate: 1_000_000, Queue: 64 << 10})
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan linkwatch.Change, 64)
	ended := make(chan error, 1)
	w.Agent.Go(func() { ended <- linkwatch.Run(ctx, func(c linkwatch.Change) { changes <- c }) })

	own := []netip.Addr{netip.MustParseAddr(gateway.AgentAddress)}
	next := func(up bool) (linkwatch.Change, bool) {
		t.Helper()
		for len(changes) > 0 { // of an earlier call that did not wait long enough
			<-changes
		}
		testkit.Must(t, w.Agent.SetDevice(up))
		select {
		case c := <-changes:
			return c, true
		case err := <-ended:
			t.Fatalf("Run has ended: %v", err)
		case <-time.After(time.Second): // Run may not listen yet
		}
		return linkwatch.Change{}, false
	}
	var got linkwatch.Change
	var heard bool
	for !heard || len(got.Gone) == 0 {
		next(true)
		got, heard = next(false)
	}
	if !reflect.DeepEqual(got, linkwatch.Change{Gone: own}) {
		t.Errorf("down: got %+v, want that %s has gone", got, own)
	}
	testkit.Must(t, w.Agent.SetDevice(true))
	select { // Run listens by now
	case got = <-changes:
	case <-time.After(time.Minute):
		t.Fatal("the address that has come is no change")
	}
	if !reflect.DeepEqual(got, linkwatch.Change{Come: own}) {
		t.Errorf("up: got %+v, want that %s has come", got, own)
	}
	// A route goes with its device, and comes without a change of the addresses.
	testkit.Must(t, w.Agent.AddDefaultRoute())
	select {
	case got := <-changes:
		if want := (linkwatch.Change{Route: true}); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want a default route", got)
		}
	case <-time.After(time.Minute):
		t.Error("the default route is no change")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: got %v after its context ended, want nil", err)
	}
}
