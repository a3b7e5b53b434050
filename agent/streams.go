package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// streams are the open streams with their destinations.
type streams struct {
	log     *wal.Log
	dead    *wal.DeadLetters
	metrics *admin.Metrics
	logger  hclog.Logger
	link    *shipper.Link // to AWS, shared by all destinations there

	mu     sync.RWMutex
	conf   *config.Config
	byName map[string]*openStream
	made   map[string]int64 // how many each block has, of byName and reserved
	// reserved are the streams that may get their first event just now, with the batches under way.
	reserved  map[string]int
	reserving sync.WaitGroup // of these batches
	closed    bool           // no new stream is taken any more
}

var errStopping = errors.New("the agent is stopping")

// openStream is a stream that events can be appended to. It is replaced, never changed.
type openStream struct {
	rules  ingest.StreamRules
	routes []*route // in the order of the configuration
}

func newStreams(conf *config.Config, log *wal.Log, dead *wal.DeadLetters, metrics *admin.Metrics, logger hclog.Logger) *streams {
	link := shipper.NewLink(conf.Bandwidth)
	return &streams{link: link, log: log, dead: dead, metrics: metrics, logger: logger, conf: conf,
		byName: make(map[string]*openStream), made: make(map[string]int64), reserved: make(map[string]int)}
}

// Lookup returns what a stream takes. It opens nothing: see Submit.
func (s *streams) Lookup(name string) (ingest.StreamRules, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if open := s.byName[name]; open != nil {
		return open.rules, nil
	}
	c, err := s.matchLocked(name)
	if err != nil {
		return ingest.StreamRules{}, err
	}
	return newRules(name, c)
}

// openAll opens what the configuration names and what the log has events of.
func (s *streams) openAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.namesLocked() {
		if _, err := s.openLocked(name, nil); err != nil {
			s.logger.Warn("a stream is not open; its events are kept", "stream", name, "error", err)
		}
	}
}

// namesLocked returns the streams that are to be open: those that the configuration names whole, and
// those of the log that it still matches.
func (s *streams) namesLocked() []string {
	var names []string
	for _, c := range s.conf.Streams {
		if config.ValidStreamName(c.Name) == nil {
			names = append(names, c.Name)
		}
	}
	for _, st := range s.log.Streams() {
		if _, ok := s.conf.Match(st.Name); ok && !slices.Contains(names, st.Name) {
			names = append(names, st.Name)
		}
	}
	return names
}

// openLocked opens a stream; of before, which it may have been until now, it keeps the routes that
// have not changed. s.mu is held for writing.
func (s *streams) openLocked(name string, before *openStream) (*openStream, error) {
	if open := s.byName[name]; open != nil {
		return open, nil
	}
	c, ok := s.conf.Match(name)
	if !ok {
		return nil, fmt.Errorf("%w: %q; configured are %s", ingest.ErrNoStream, name, s.configuredLocked())
	}
	open := &openStream{}
	for _, d := range c.Destinations {
		r := before.route(d.For(name))
		if r == nil {
			var err error
			if r, err = s.newRoute(name, d.For(name)); err != nil {
				return nil, err
			}
		}
		open.routes = append(open.routes, r)
	}
	open.rules = rulesOf(c, roomsOf(open.routes))
	if !s.countedLocked(name) {
		s.made[c.Name]++
	}
	s.byName[strings.Clone(name)] = open
	for _, r := range open.routes {
		r.start()
	}
	return open, nil
}

func (s *streams) configuredLocked() string {
	var names []string
	for _, c := range s.conf.Streams {
		names = append(names, fmt.Sprintf("%q", c.Name))
	}
	if len(names) == 0 {
		return "no streams"
	}
	return strings.Join(names, ", ")
}

// rulesOf returns what the listeners check.
func rulesOf(c *config.Stream, rooms []room) ingest.StreamRules {
	acks := map[string]standpipev1.Ack{
		"accepted": standpipev1.Ack_ACK_ACCEPTED, "durable": standpipev1.Ack_ACK_DURABLE, "delivered": standpipev1.Ack_ACK_DELIVERED,
	}
	return ingest.StreamRules{
		Format: c.Format, MaxEventSize: int(c.MaxEventSize), Ack: acks[c.Ack],
		Room: func(e *wal.Event) (int, string) { return least(rooms, e) },
	}
}

// room is what one destination takes now.
type room struct {
	title string
	shape func() shipper.Shape
}

func roomsOf(routes []*route) []room {
	rooms := make([]room, len(routes))
	for i, r := range routes {
		rooms[i] = room{r.title, r.sink.Shape}
	}
	return rooms
}

// least returns the bytes that every destination can take now, and the one that takes the least.
func least(rooms []room, e *wal.Event) (limit int, destination string) {
	for _, r := range rooms {
		shape := r.shape()
		if room := shape.Room(e); destination == "" || room < limit {
			limit, destination = room, r.title
		}
	}
	return limit, destination
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

// pending returns how many events wait in the log, counted at each destination.
func (s *streams) pending() (n uint64) {
	for _, st := range s.log.Streams() {
		for _, p := range s.log.Places(st.Name) {
			n += p.Stat().Pending.Events
		}
	}
	return n
}

// drain ships what can be shipped until ctx ends, and then cuts off the requests under way.
func (s *streams) drain(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.reserving.Wait() // for the log alone
	routes := s.all()
	for _, r := range routes {
		r.finish()
	}
	for _, r := range routes {
		r.wait(ctx)
	}
}

// cut ends the requests under way, and sends no more.
func (s *streams) cut() {
	for _, r := range s.all() {
		r.cut()
	}
}

// close finishes what the destinations hold open. The log holds the last checkpoint by now.
func (s *streams) close() {
	for _, r := range s.all() {
		r.close()
	}
}
