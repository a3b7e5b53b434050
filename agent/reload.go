package agent

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/config"
)

// Reload applies conf while the agent runs: streams and their destinations, listeners, identities, max_age,
// log_level and shutdown_timeout; and reads certificates and tokens that have changed. What is unchanged goes on
// undisturbed. A destination that is gone is parked. An error means that nothing was changed.
func (a *Agent) Reload(conf *config.Config) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.serving == nil || a.draining.Load() {
		return errors.New("reload: the agent is starting or stopping")
	}
	opened, err := a.bindNew(conf)
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	if err := a.register.Set(identities(conf)); err != nil {
		a.discard(opened)
		return fmt.Errorf("reload: %w", err)
	}
	a.log.SetPolicy(policies(conf))
	a.streams.apply(conf, func() { a.checkpoint() })
	a.changeDoors(conf, opened)
	a.shield.refresh()
	a.logger.SetLevel(hclog.LevelFromString(conf.LogLevel))
	for _, setting := range needRestart(a.conf.Load(), conf) {
		a.logger.Warn("a changed setting takes effect at the next start", "setting", setting)
	}
	a.conf.Store(conf)
	a.logger.Info("configuration reloaded", "streams", len(conf.Streams), "listeners", len(conf.Listeners))
	return nil
}

// bindNew binds the listeners that conf has and the agent has not, all or none. One whose address
// is in use by a listener of ours with other settings can't be bound beside it.
func (a *Agent) bindNew(conf *config.Config) (opened []*openDoor, err error) {
	for _, l := range conf.Listeners {
		if _, open := a.doors[doorOf(l)]; open {
			continue
		}
		d, err := a.bind(l)
		if err != nil {
			a.discard(opened)
			return nil, err
		}
		opened = append(opened, d)
	}
	return opened, nil
}

// discard closes listeners that were never served.
func (a *Agent) discard(opened []*openDoor) {
	for _, d := range opened {
		a.stopDoor(context.Background(), d)
	}
}

// changeDoors serves the new listeners and stops those that conf no longer has.
func (a *Agent) changeDoors(conf *config.Config, opened []*openDoor) {
	wanted := make(map[door]bool)
	for _, l := range conf.Listeners {
		wanted[doorOf(l)] = true
	}
	ctx, cancel := context.WithTimeout(context.Background(), conf.ShutdownTimeout)
	defer cancel()
	for key, d := range a.doors {
		if !wanted[key] {
			a.stopDoor(ctx, d)
			delete(a.doors, key)
			continue
		}
		d.refresh()
	}
	for _, d := range opened {
		a.doors[d.door] = d
		a.serveDoor(d)
	}
}

// needRestart names the settings that differ and that a running agent can't change.
func needRestart(from, to *config.Config) (settings []string) {
	note := func(name string, differs bool) {
		if differs {
			settings = append(settings, name)
		}
	}
	note("node_name", from.NodeName != to.NodeName)
	note("data_dir", from.DataDir != to.DataDir)
	note("log_format", from.LogFormat != to.LogFormat)
	note("admin", adminDiffers(from.Admin, to.Admin))
	before, after := from.WAL, to.WAL
	before.MaxAge = after.MaxAge
	note("wal", before != after)
	return settings
}

func adminDiffers(from, to config.Admin) bool {
	from.Pos, to.Pos = config.Pos{}, config.Pos{}
	return !reflect.DeepEqual(from, to)
}

// apply makes the open streams what conf says. checkpoint is called before the destinations that
// are taken away finish what they hold open. Appends go on meanwhile.
func (s *streams) apply(conf *config.Config, checkpoint func()) {
	s.mu.Lock()
	s.conf = conf
	s.link.SetCap(conf.Bandwidth)
	gone := s.obsoleteLocked()
	s.mu.Unlock()

	var group sync.WaitGroup
	for _, r := range gone {
		group.Go(r.halt)
	}
	group.Wait()
	if len(gone) > 0 {
		checkpoint()
	}
	for _, r := range gone {
		r.close()
		r.place.Park() // until it is opened again, below or by a later reload
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.byName
	s.byName, s.made = make(map[string]*openStream), make(map[string]int64)
	for name := range s.reserved {
		if c, ok := conf.Match(name); ok {
			s.made[c.Name]++
		}
	}
	for _, name := range s.namesLocked() {
		if _, err := s.openLocked(name, before[name]); err != nil {
			s.logger.Error("a stream is not open; its events are kept", "stream", name, "error", err)
		}
	}
}

// obsoleteLocked returns the routes that the configuration does not have as they are.
func (s *streams) obsoleteLocked() (gone []*route) {
	for name, open := range s.byName {
		c, ok := s.conf.Match(name)
		for _, r := range open.routes {
			if !ok || !slices.ContainsFunc(c.Destinations, func(d config.Destination) bool { return r.is(d.For(name)) }) {
				gone = append(gone, r)
			}
		}
	}
	return gone
}

// is tells whether the route is the destination d.
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
