package agent

import (
	"context"
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
	made   map[string]int64 // of byName, how many each block has
	closed bool             // no stream is opened any more
}

// openStream is a stream that events can be appended to. It is replaced, never changed.
type openStream struct {
	rules  ingest.StreamRules
	routes []*route // in the order of the configuration
}

func newStreams(conf *config.Config, log *wal.Log, dead *wal.DeadLetters, metrics *admin.Metrics, logger hclog.Logger) *streams {
	link := shipper.NewLink(conf.Bandwidth)
	return &streams{link: link, log: log, dead: dead, metrics: metrics, logger: logger, conf: conf,
		byName: make(map[string]*openStream), made: make(map[string]int64)}
}

// Lookup returns what a stream takes; the first lookup of a name that a pattern matches opens the
// stream, if the pattern may have one more.
func (s *streams) Lookup(name string) (ingest.StreamRules, error) {
	s.mu.RLock()
	open, err := s.byName[name], error(nil)
	if open == nil {
		err = s.tooManyLocked(name) // here too, so that who sends ever new names holds up nobody
	}
	s.mu.RUnlock()
	if open == nil && err == nil {
		open, err = s.openNew(name)
	}
	if err != nil {
		return ingest.StreamRules{}, err
	}
	return open.rules, nil
}

// openNew opens a stream for its first event.
func (s *streams) openNew(name string) (*openStream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName[name] == nil {
		if err := s.tooManyLocked(name); err != nil {
			return nil, err
		}
	}
	return s.openLocked(name, nil)
}

// tooManyLocked returns why a stream that is not open may not be made: its pattern has as many as it may. Those
// that the log holds already are opened all the same, and count.
func (s *streams) tooManyLocked(name string) error {
	c, ok := s.conf.Match(name)
	if !ok || c.MaxStreams == 0 || s.made[c.Name] < c.MaxStreams {
		return nil
	}
	return fmt.Errorf("%w: %q is new, and %q has %d already; max_streams in its block allows no more: nothing was stored",
		ingest.ErrTooManyStreams, name, c.Name, s.made[c.Name])
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
	if s.closed {
		return nil, fmt.Errorf("the agent is stopping")
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
	open.rules = rulesOf(c, open.routes)
	s.byName[strings.Clone(name)] = open
	s.made[c.Name]++
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
func rulesOf(c *config.Stream, routes []*route) ingest.StreamRules {
	acks := map[string]standpipev1.Ack{
		"accepted": standpipev1.Ack_ACK_ACCEPTED, "durable": standpipev1.Ack_ACK_DURABLE, "delivered": standpipev1.Ack_ACK_DELIVERED,
	}
	return ingest.StreamRules{
		Format: c.Format, MaxEventSize: int(c.MaxEventSize), Ack: acks[c.Ack],
		Room: func(e *wal.Event) (int, string) { return roomOf(routes, e) },
	}
}

// roomOf returns the bytes that every destination can take now, and the one that takes the least.
func roomOf(routes []*route, e *wal.Event) (limit int, destination string) {
	for _, r := range routes {
		shape := r.sink.Shape()
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
