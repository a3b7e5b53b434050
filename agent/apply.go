package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper/sink/file"
	"github.com/standpipe/standpipe/wal"
)

// openRetry is the time between two attempts to open a stream whose cursors could not be opened.
const openRetry = 10 * time.Second

// parkedTimeout bounds the start's wait for the files of parked destinations.
const parkedTimeout = 5 * time.Second

// finishParked finishes the files of destinations that conf does not have any more: a crash may have kept the reload or stop
// that removed them from doing so. Run calls it before any destination is started. One that comes back later waits for its files.
func (s *streams) finishParked(conf *config.Config) {
	finished := newLatch()
	var all sync.WaitGroup
	for _, st := range s.log.Streams() {
		for _, p := range s.log.Cursors(st.Name) {
			if state := p.State(); state != nil && !Configures(conf, st.Name, p.Name()) {
				own := newLatch()
				s.unfinished[cursorKey{st.Name, p.Name()}] = own
				all.Go(func() {
					defer own.set()
					release, _ := s.slots.Acquire(context.Background())
					defer release()
					s.finishFiles(st.Name, p, state)
				})
			}
		}
	}
	go func() { all.Wait(); finished.set() }()
	select {
	case <-finished.c:
	case <-time.After(parkedTimeout):
		s.logger.Warn("output files of removed destinations not finished; their disk hangs", "after", parkedTimeout)
	}
}

func (s *streams) finishFiles(stream string, p *wal.Cursor, state []byte) {
	logger := s.logger.Named("shipper")
	state, err := file.FinishParked(file.Options{Path: ".", Stream: stream, State: state, Logger: logger})
	if err == nil && state != nil {
		err = p.Settle(wal.Settlement{State: state})
	}
	if err != nil {
		logger.Warn("output files of a removed destination not finished; the next start tries again",
			"stream", stream, "destination", p.Name(), "error", err)
	}
}

// Configures reports whether conf has the stream's destination.
func Configures(conf *config.Config, stream, destination string) bool {
	c, ok := conf.Match(stream)
	if !ok {
		return false
	}
	return slices.ContainsFunc(c.Destinations, func(d config.Destination) bool { return d.Name == destination })
}

// parkRest parks the destinations that conf does not have. Their cursors have no owner: an earlier run of the agent may have
// ended before it parked them.
func (s *streams) parkRest(conf *config.Config) {
	s.changing.Lock()
	defer s.changing.Unlock()
	for _, st := range s.log.Streams() {
		for _, p := range s.log.Cursors(st.Name) {
			if !Configures(conf, st.Name, p.Name()) && s.owners[cursorKey{st.Name, p.Name()}] == nil {
				p.Park()
			}
		}
	}
}

// apply makes the agent run conf: Run calls it at the start, Reload with each later configuration. It builds
// everything new, then switches, then closes the old. Only building can fail: apply then undoes it and leaves
// everything as it was. The returned latches are set once the new routes are built or blocked and the old routes and
// listeners have ended. The caller holds a.mu.
func (a *Agent) apply(conf *config.Config) (changed admin.ReloadChanges, pending []*latch, err error) {
	reloading := a.running.isSet() // at the start New has bound the listeners and read the identities

	// Build: bind the new listeners, claim the cursors of the new routes, read the tokens of the identities.
	added, err := a.listeners.bindNew(conf)
	if err != nil {
		return changed, nil, err
	}
	var change *streamsChange
	defer func() {
		if err != nil {
			change.undo()
			a.listeners.discard(added)
		}
	}()
	if change, err = a.streams.prepare(conf); err != nil {
		return changed, nil, err
	}
	if reloading {
		if err := a.log.CheckLimits(limits(conf)); err != nil {
			return changed, nil, err
		}
		if err := a.register.Set(identities(conf)); err != nil {
			return changed, nil, err
		}
	}

	// Switch. Nothing below fails.
	started, ending := change.commit()
	if reloading {
		a.log.SetPolicy(policies(conf))
		a.log.SetLimits(limits(conf))
		a.adminSecurity.refresh()
		a.logger.SetLevel(hclog.LevelFromString(conf.LogLevel))
		settings := needRestart(a.conf.Load(), conf)
		changed = changesOf(conf, started, ending, settings)
		for _, setting := range settings {
			a.logger.Warn("changed setting takes effect at the next start", "setting", setting)
		}
		a.conf.Store(conf)
	}

	// Close the old. Each part ends on its own: no append and no other destination waits for it.
	for _, r := range ending {
		go a.streams.retire(r)
		pending = append(pending, r.gone)
	}
	for _, l := range a.listeners.apply(conf, added) {
		pending = append(pending, l.gone)
	}
	for _, r := range started {
		pending = append(pending, r.attempted)
	}
	return changed, pending, nil
}

// limits returns the limits of the log that a reload changes.
func limits(conf *config.Config) wal.Limits {
	return wal.Limits{MaxSize: conf.WAL.MaxSize, OnFull: wal.OnFull(conf.WAL.OnFull), Retain: conf.WAL.Retain}
}

// streamsChange is the set of open streams for a configuration, built and not yet in use. It holds streams.changing
// from prepare until commit or undo.
type streamsChange struct {
	streams  *streams
	conf     *config.Config
	byName   map[string]*openStream
	perBlock map[string]int64
	added    []*route // of byName, those that are not running yet
	missing  bool     // at the start, a stream could not be opened
}

// prepare builds the streams of conf. Unchanged routes go on in it. An error leaves nothing behind; at the start of the
// agent a stream that cannot be opened is no error: its events are kept and opening is tried again.
func (s *streams) prepare(conf *config.Config) (*streamsChange, error) {
	s.changing.Lock()
	starting := len(s.byName) == 0
	c := &streamsChange{streams: s, conf: conf, byName: make(map[string]*openStream), perBlock: make(map[string]int64)}
	for _, name := range s.names(conf) {
		open, added, err := s.build(conf, name, s.byName[name])
		if err != nil && !starting {
			c.undo()
			return nil, err
		}
		if err != nil {
			s.logger.Warn("stream not open; its events are kept", "stream", name, "error", err)
			c.missing = true
			continue
		}
		c.added = append(c.added, added...)
		block, _ := conf.Match(name)
		c.perBlock[block.Name]++
		c.byName[name] = open
	}
	return c, nil
}

// undo releases the cursors that prepare has claimed. A nil change has none.
func (c *streamsChange) undo() {
	if c == nil {
		return
	}
	discardRoutes(c.added)
	c.streams.changing.Unlock()
}

// commit switches to the prepared streams in one step and starts their new routes. It returns these, and the replaced
// and removed routes, which the caller retires.
func (c *streamsChange) commit() (started, ending []*route) {
	s := c.streams
	defer s.changing.Unlock()
	before := s.byName
	s.mu.Lock()
	s.conf, s.byName, s.perBlock = c.conf, c.byName, c.perBlock
	s.mu.Unlock()
	s.link.SetCap(c.conf.Bandwidth)

	for name, open := range c.byName {
		if !open.tentative {
			startRoutes(open.routes) // does nothing for running routes
		}
		if old := before[name]; old != nil {
			ending = append(ending, old.without(open)...)
		}
	}
	for name, old := range before {
		if c.byName[name] == nil {
			ending = append(ending, old.routes...)
		}
	}
	for _, r := range ending {
		s.leave(r)
	}
	if c.missing {
		time.AfterFunc(openRetry, s.openMissing)
	}
	return c.added, ending
}

// without returns the routes of o that next does not have.
func (o *openStream) without(next *openStream) (gone []*route) {
	for _, r := range o.routes {
		if !slices.Contains(next.routes, r) {
			gone = append(gone, r)
		}
	}
	return gone
}

// openMissing opens the streams that could not be opened before.
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
		startRoutes(open.routes)
	}
	if missing {
		time.AfterFunc(openRetry, s.openMissing)
	}
}
