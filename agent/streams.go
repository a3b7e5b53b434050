package agent

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/diskwatch"
	"github.com/standpipe/standpipe/agent/internal/memory"
	"github.com/standpipe/standpipe/agent/internal/slots"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/relay"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// streams are the open streams with their destinations.
type streams struct {
	log       *wal.Log
	dead      *deadletter.Queue
	metrics   *admin.Metrics
	logger    hclog.Logger
	link      *shipper.Link // to AWS, shared by all destinations there
	outages   *shipper.Outages
	slots     slots.Slots
	upstreams *relay.Upstreams
	disk      *diskwatch.Watch
	memory    memory.Bound
	stopped   *latch // the agent has stopped; ends all waits

	// changing serializes changes to the set of open streams. A change holds it from its first read to its end, also while it
	// waits for the WAL. It is locked before mu.
	changing sync.Mutex
	owners   map[cursorKey]*route // the route of each cursor in use; guarded by changing
	reserved map[string]int       // unfinished batches of tentative streams; guarded by changing
	closed   bool                 // no more streams are opened; guarded by changing
	// unfinished has the destinations whose files finishParked finishes. It is written before Run applies the configuration.
	unfinished map[cursorKey]*latch
	reserving  sync.WaitGroup // of the batches in reserved

	// mu guards the fields below. Writers hold changing as well, so a holder of changing reads them without mu.
	mu       sync.RWMutex
	conf     *config.Config
	byName   map[string]*openStream
	perBlock map[string]int64    // the number of streams in byName, by block
	leaving  map[*route]struct{} // ending routes
}

// openStream is an open stream. It is immutable: changes replace it.
type openStream struct {
	rules  ingest.StreamRules
	routes []*route // in the order of the configuration
	// tentative: the first event is not stored yet. The routes have their cursors and are not started.
	tentative bool
}

var errStopping = errors.New("the agent is stopping")

func newStreams(conf *config.Config, log *wal.Log, dead *deadletter.Queue, disk *diskwatch.Watch, metrics *admin.Metrics, logger hclog.Logger) *streams {
	return &streams{
		log: log, dead: dead, disk: disk, metrics: metrics, logger: logger, link: shipper.NewLink(conf.Bandwidth),
		outages: shipper.NewOutages(log, logger.Named("shipper")),
		slots:   slots.New(), upstreams: relay.NewUpstreams(), stopped: newLatch(), conf: conf,
		owners: make(map[cursorKey]*route), unfinished: make(map[cursorKey]*latch), reserved: make(map[string]int), leaving: make(map[*route]struct{}),
		byName: make(map[string]*openStream), perBlock: make(map[string]int64),
	}
}

// Lookup returns a stream's rules. It opens nothing: see Submit.
func (s *streams) Lookup(name string) (ingest.StreamRules, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if open := s.byName[name]; open != nil {
		return open.rules, nil
	}
	c, err := s.match(name)
	if err != nil {
		return ingest.StreamRules{}, err
	}
	return newRules(s.log.Branches(name), name, c)
}

// match returns the block of a stream that is not open, or an error if it must not be opened: a pattern has at most
// max_streams. The limit is not applied to streams that the WAL has already, but they count. mu or changing is held.
func (s *streams) match(name string) (*config.Stream, error) {
	c, ok := s.conf.Match(name)
	switch {
	case config.ValidStreamName(name) != nil:
		return nil, ingest.ErrInvalidName
	case !ok:
		return nil, fmt.Errorf("%w: %q; configured are %s", ingest.ErrNoStream, name, configured(s.conf))
	case c.MaxStreams > 0 && s.perBlock[c.Name] >= c.MaxStreams:
		return nil, fmt.Errorf("%w: %q is new, and %q has %d already; max_streams in its block allows no more: nothing was stored",
			ingest.ErrTooManyStreams, name, c.Name, s.perBlock[c.Name])
	}
	return c, nil
}

func configured(conf *config.Config) string {
	var names []string
	for _, c := range conf.Streams {
		names = append(names, fmt.Sprintf("%q", c.Name))
	}
	if len(names) == 0 {
		return "no streams"
	}
	return strings.Join(names, ", ")
}

// names returns the streams to open with conf: those that it names, and the streams of the WAL and the reserved ones that it
// matches. changing is held.
func (s *streams) names(conf *config.Config) []string {
	names := make(map[string]struct{})
	for _, c := range conf.Streams {
		if config.ValidStreamName(c.Name) == nil {
			names[c.Name] = struct{}{}
		}
	}
	for _, st := range s.log.Streams() {
		names[st.Name] = struct{}{}
	}
	for name := range s.reserved {
		names[name] = struct{}{}
	}
	maps.DeleteFunc(names, func(name string, _ struct{}) bool {
		_, ok := conf.Match(name)
		return !ok
	})
	return slices.Sorted(maps.Keys(names))
}

// build builds a stream by conf. It keeps the unchanged routes of before, the stream until now, which may be nil. fresh are the
// new routes, which the caller starts. build has no effect if it returns an error. changing is held.
func (s *streams) build(conf *config.Config, name string, before *openStream) (open *openStream, fresh []*route, err error) {
	c, _ := conf.Match(name)
	open = &openStream{tentative: before != nil && before.tentative && c.Name != name}
	for _, d := range c.Destinations {
		r := before.route(d.For(name))
		if r == nil {
			if r, err = s.newRoute(name, d.For(name)); err != nil {
				discardRoutes(fresh)
				return nil, nil, err
			}
			fresh = append(fresh, r)
		}
		open.routes = append(open.routes, r)
	}
	open.rules = rulesOf(c, limitsOf(open.routes))
	return open, fresh, nil
}

// route returns the stream's route to d, or nil.
func (o *openStream) route(d config.Destination) *route {
	if o == nil {
		return nil
	}
	for _, r := range o.routes {
		if r.is(d) {
			return r
		}
	}
	return nil
}

// discardRoutes undoes newRoute. streams.changing is held.
func discardRoutes(fresh []*route) {
	for _, r := range slices.Backward(fresh) {
		r.discard()
	}
}

func startRoutes(fresh []*route) {
	for _, r := range fresh {
		r.start()
	}
}

// set replaces a stream, or removes it if open is nil. changing is held.
func (s *streams) set(name string, open *openStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change := int64(0)
	if s.byName[name] != nil {
		delete(s.byName, name)
		change--
	}
	if open != nil {
		s.byName[strings.Clone(name)] = open
		change++
	}
	if c, ok := s.conf.Match(name); ok {
		s.perBlock[c.Name] += change
	}
}

// leave notes that the route is ending, until retire has ended it. changing is held.
func (s *streams) leave(r *route) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving[r] = struct{}{}
}

// destinations returns the number of destinations of the open streams.
func (s *streams) destinations() (n int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, open := range s.byName {
		n += len(open.routes)
	}
	return n
}

// all returns every route of every open stream.
func (s *streams) all() []*route {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var routes []*route
	for _, open := range s.byName {
		routes = append(routes, open.routes...)
	}
	return routes
}

// pending returns the number of pending events of all destinations.
func (s *streams) pending() (n uint64) {
	for _, st := range s.log.Streams() {
		for _, p := range s.log.Cursors(st.Name) {
			n += p.Stat().Pending.Events
		}
	}
	return n
}
