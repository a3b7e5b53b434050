package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/relay"
)

// node is an agent that relays its stream s to others.
type node struct {
	name      string
	upstreams *relay.Upstreams
}

func newNode(name string) *node { return &node{name, relay.NewUpstreams()} }

func (n *node) relayTo(to *node) error {
	return to.upstreams.Arrived(to.name, "s", n.upstreams.Path(n.name, "s"))
}

func TestPath_LoopIsFound(t *testing.T) {
	a, b, c := newNode("A"), newNode("B"), newNode("C")
	for i, hop := range [][2]*node{{a, b}, {b, c}, {a, c}} {
		if err := hop[0].relayTo(hop[1]); err != nil {
			t.Fatalf("hop %d: %v", i, err)
		}
	}
	if got, want := c.upstreams.Path("C", "s"), "3 A/s B/s C/s"; got != want {
		t.Errorf("got path %q, want %q", got, want)
	}
	err := c.relayTo(a)
	if err == nil || !strings.Contains(err.Error(), `passed stream "s" of this agent (A) before; path: A/s, B/s, C/s`) {
		t.Errorf("got %v", err)
	}
	if err := a.upstreams.Arrived("A", "other", c.upstreams.Path("C", "s")); err != nil {
		t.Errorf("another stream of the same agent: %v", err)
	}
}

// After ten minutes without a request a path no longer counts, as the loop may be gone.
func TestPath_Ends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newNode("A"), newNode("B")
		if err := a.relayTo(b); err != nil {
			t.Fatal(err)
		}
		if err := b.relayTo(a); err == nil {
			t.Error("got no error")
		}
		time.Sleep(10 * time.Minute)
		if got := b.upstreams.Path("B", "s"); got != "1 B/s" {
			t.Errorf("got %q", got)
		}
	})
}

// Requests to any number of streams, none of which may be stored, take a bounded memory. Streams in use stay.
func TestPath_StreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := relay.NewUpstreams()
		arrive := func(stream string) {
			if err := u.Arrived("B", stream, "1 A/s"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		for i := range 10_000 {
			arrive(fmt.Sprint("s-", i))
			if i%1000 == 0 {
				arrive("s-0")
			}
		}
		for stream, want := range map[string]string{"s-0": "2 A/s B/s-0", "s-1": "1 B/s-1", "s-9999": "2 A/s B/s-9999"} {
			if got := u.Path("B", stream); got != want {
				t.Errorf("got path %q, want %q", got, want)
			}
		}
	})
}

// A hub with more upstream agents than a path names still finds a loop, by the number of agents on the way.
func TestPath_LargeLoopEndsByTheLimit(t *testing.T) {
	hub := newNode("hub")
	for i := range 200 {
		if err := newNode(fmt.Sprint("agent-", i)).relayTo(hub); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(hub.upstreams.Path("hub", "s"), "/s"); got != 64 {
		t.Errorf("a path of %d agents, want 64", got)
	}
	a, b := newNode("A"), newNode("B")
	var err error
	rounds := 0
	for ; err == nil && rounds < 100; rounds++ {
		// The hub's other agents displace A from its path.
		if err = a.relayTo(hub); err != nil {
			break
		}
		for i := range 200 {
			if err := newNode(fmt.Sprint("agent-", i)).relayTo(hub); err != nil {
				t.Fatal(err)
			}
		}
		if err = hub.relayTo(b); err == nil {
			err = b.relayTo(a)
		}
	}
	if err == nil || rounds > 10 {
		t.Errorf("got %v after %d rounds", err, rounds)
	}
}

// The number of agents is counted apart from their names, of which a path may lack some.
func TestPath_LongChainEndsByTheLimit(t *testing.T) {
	from := newNode("agent-0")
	for i := range 20 {
		to := newNode(fmt.Sprint("agent-", i+1))
		err := from.relayTo(to)
		if i == 16 {
			if err == nil || !strings.Contains(err.Error(), "passed 17 agents; at most 16 are allowed") {
				t.Errorf("got %v", err)
			}
			return
		}
		if err != nil {
			t.Fatalf("after %d agents: %v", i+1, err)
		}
		from = to
	}
}

func TestPath_Invalid(t *testing.T) {
	for _, path := range []string{"", "x", "0 A/s", "-1", "1 " + strings.Repeat("A", 20<<10)} {
		if err := relay.NewUpstreams().Arrived("B", "s", path); err == nil {
			t.Errorf("%.20q: got no error", path)
		}
	}
}

// relays is the part of an agent that rejects paths.
type relays struct{ n *node }

func (r relays) Arrived(stream, path string) error {
	return r.n.upstreams.Arrived(r.n.name, stream, path)
}

func TestRelay_LoopNeedsAnOperator(t *testing.T) {
	a, b := newNode("A"), newNode("B")
	to := receive(t, func(r *receiver) { r.options.Relays = relays{b} })
	o := to.relayOptions()
	o.Stream, o.Source = "s", "s"
	o.Path = func() string { return a.upstreams.Path("A", "s") }
	if _, err := ship(t, open(t, o), events(1, 10)); err != nil {
		t.Fatal(err)
	}
	if err := b.relayTo(a); err == nil {
		t.Error("A does not find the loop")
	}
	o.Path = func() string { return b.upstreams.Path("B", "s") }
	_, err := ship(t, open(t, o), events(10, 20))
	if err == nil || err.Class != shipper.Operator || err.Code != "FAILED_PRECONDITION" || !strings.Contains(err.Text, "relay loop") {
		t.Errorf("got %+v", err)
	}
	check(t, to.stored("s"), events(1, 10))
}
