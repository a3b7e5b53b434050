package rangedtest

import (
	"slices"
	"sync"
	"testing"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/wal"
)

// Fault is the failure of one request.
type Fault int

// The faults of requests.
const (
	None     Fault = iota
	Busy           // the service has no capacity, and responds so
	Denied         // the service rejects the credentials
	Cut            // the connection ends before the request has an effect
	Lost           // the request has its effect, and the connection ends before the response
	Hang           // the request has no effect and no response
	HangDone       // the request has its effect and no response
)

var faultNames = []string{"none", "busy", "denied", "cut", "lost", "hang", "hang after the effect"}

func (f Fault) String() string { return faultNames[f] }

// classes are the classes of the errors that a fault may lead to.
var classes = map[Fault][]shipper.Class{
	Busy: {shipper.Throttled, shipper.Transient}, Denied: {shipper.Operator},
	Cut: {shipper.Transient}, Lost: {shipper.Transient}, Hang: {shipper.Transient}, HangDone: {shipper.Transient},
}

// Target is a sink under test with its destination.
type Target struct {
	// Open opens the sink, as a starting process does. The destination stays the same.
	Open func() ranged.Sink

	// Exact declares that each event is in the destination once, also after a kill at any time.
	Exact bool

	// Stored returns the offsets of the events in the destination, in its order. nil: it holds a number of events only, which
	// Counted returns.
	Stored  func() []uint64
	Counted func() int

	// Left returns the number of ranges that were begun at the destination, and neither delivered nor discarded. After another
	// start there are none. nil: the destination has no such ranges.
	Left func() int

	// Plan has the failure of a request. Faults are those that the destination can have: all of them if it is Exact. None: it
	// confirms nothing, so no request fails by its response.
	Plan   *Plan
	Faults []Fault

	// OpenLarge is Open for events as large as the shape allows. nil: Open.
	OpenLarge func() ranged.Sink

	// Data returns the data of the event at an offset: size bytes, if that is possible. nil: the offset in 8 digits and letters.
	Data func(offset uint64, size int) []byte

	// Reject changes an event to one that the destination rejects for good. nil: it takes any event.
	Reject func(e *wal.Event)
}

// check fails the test if the declaration is incomplete.
func (s *Target) check(t *testing.T) {
	t.Helper()
	if s.Open == nil || s.Plan == nil || (s.Stored == nil) == (s.Counted == nil) {
		t.Fatal("a target needs Open, Plan, and one of Stored and Counted")
	}
	for f := Busy; f <= HangDone && s.Exact; f++ {
		if !slices.Contains(s.Faults, f) {
			t.Fatalf("the target is Exact, and lacks the fault %q", f)
		}
	}
}

// Plan has the fault of a later request. The zero Plan has none.
type Plan struct {
	mu    sync.Mutex
	left  int // requests up to the one that fails; 0: none fails
	fault Fault
	met   func()
}

// set lets the n-th request from now fail. met is called when it does.
func (p *Plan) set(n int, f Fault, met func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.fault, p.met = n, f, met
}

// Next returns the fault of a request that has arrived at the fake. The fake calls met after the request's effect, if it has
// one, and before its failure.
func (p *Plan) Next() (f Fault, met func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == 0 {
		return None, func() {}
	}
	if p.left--; p.left > 0 {
		return None, func() {}
	}
	return p.fault, p.met
}
