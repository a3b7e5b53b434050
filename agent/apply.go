package agent

import (
	"slices"
	"time"

	"github.com/standpipe/standpipe/agent/config"
)

// openRetry is the time between two attempts to open a stream that could not get its places in the log.
const openRetry = 10 * time.Second

// apply makes the open streams match conf. It builds all new routes first and then runs last, the caller's final step;
// an error of either undoes the new routes and leaves everything as it was. The switch is atomic. Replaced and removed
// routes end after it, on their own: no append and no other destination waits for them. apply returns the routes that
// have started and the routes that end.
//
// At the start of the agent a stream that can't be opened keeps its events and is tried again.
func (s *streams) apply(conf *config.Config, last func() error) (started, ending []*route, err error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	var fresh []*route
	defer func() {
		if err != nil {
			discard(fresh)
		}
	}()

	starting, missing := len(s.byName) == 0, false
	next, made := make(map[string]*openStream), make(map[string]int64)
	for _, name := range s.names(conf) {
		open, added, err := s.build(conf, name, s.byName[name])
		switch {
		case err == nil:
		case starting:
			s.logger.Warn("stream not open; its events are kept", "stream", name, "error", err)
			missing = true
			continue
		default:
			return nil, nil, err
		}
		fresh = append(fresh, added...)
		c, _ := conf.Match(name)
		made[c.Name]++
		next[name] = open
	}
	if err := last(); err != nil {
		return nil, nil, err
	}

	before := s.byName
	s.mu.Lock()
	s.conf, s.byName, s.perBlock = conf, next, made
	s.mu.Unlock()
	s.link.SetCap(conf.Bandwidth)

	for name, open := range next {
		if !open.tentative {
			start(open.routes) // which does nothing to those that go on
		}
		if was := before[name]; was != nil {
			ending = append(ending, was.without(open)...)
		}
	}
	for name, was := range before {
		if next[name] == nil {
			ending = append(ending, was.routes...)
		}
	}
	for _, r := range ending {
		s.leaving[r] = struct{}{}
		go s.retire(r)
	}
	if missing {
		time.AfterFunc(openRetry, s.openMissing)
	}
	return fresh, ending, nil
}

// without returns the routes that next has not.
func (o *openStream) without(next *openStream) (gone []*route) {
	for _, r := range o.routes {
		if !slices.Contains(next.routes, r) {
			gone = append(gone, r)
		}
	}
	return gone
}

// openMissing opens the streams that could not be opened.
func (s *streams) openMissing() {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.closed {
		return
	}
	missing := false
	for _, name := range s.names(s.conf) {
		if s.byName[name] != nil {
			continue
		}
		open, _, err := s.build(s.conf, name, nil)
		if err != nil {
			missing = true
			continue
		}
		s.logger.Info("stream open", "stream", name)
		s.set(name, open)
		start(open.routes)
	}
	if missing {
		time.AfterFunc(openRetry, s.openMissing)
	}
}

// is reports whether the route ships to the destination d.
func (r *route) is(d config.Destination) bool {
	d.Pos = config.Pos{}
	return r.conf == d
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
