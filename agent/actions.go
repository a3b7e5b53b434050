package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/agext/levenshtein"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/replay"
	"github.com/standpipe/standpipe/wal"
)

// nearNames is the number of names that the error for an unknown name lists.
const nearNames = 5

// Act applies an operator's action to a destination. It implements admin.Destinations.
func (a *Agent) Act(ctx context.Context, stream, name string, action admin.Action) (out admin.ActionOutcome, err error) {
	out = admin.ActionOutcome{Stream: stream, Destination: name, Action: action}
	if !a.running.isSet() || a.stopping.isSet() {
		return out, fmt.Errorf("%w: the agent is %s", admin.ErrUnavailable, a.state())
	}
	cursor, err := a.streams.find(stream, name)
	if err != nil {
		return out, err
	}
	switch action {
	case admin.Pause:
		err = a.streams.pause(cursor, time.Now())
	case admin.Resume:
		err = a.streams.resume(cursor)
	case admin.Retry:
		err = a.streams.retry(cursor)
	case admin.Forget:
		out.Dropped, out.DeadLetters, err = a.forget(ctx, cursor)
	default:
		err = fmt.Errorf("unknown action %q", action)
	}
	a.monitor.LookSoon()
	return out, err
}

// find returns the destination's cursor. Its error for an unknown name lists similar ones.
func (s *streams) find(stream, name string) (*wal.Cursor, error) {
	cursors := s.log.Cursors(stream)
	if len(cursors) == 0 {
		var known []string
		for _, st := range s.log.Streams() {
			known = append(known, st.Name)
		}
		return nil, fmt.Errorf("%w: no stream %q%s", admin.ErrNoDestination, stream, near(stream, known))
	}
	var known []string
	for _, p := range cursors {
		if p.Name() == name {
			return p, nil
		}
		known = append(known, p.Name())
	}
	return nil, fmt.Errorf("%w: stream %q has no destination %q%s", admin.ErrNoDestination, stream, name, near(name, known))
}

// near returns the end of an error text, which lists the names most similar to name.
func near(name string, known []string) string {
	slices.SortFunc(known, func(a, b string) int {
		distance := cmp.Compare(levenshtein.Distance(name, a, nil), levenshtein.Distance(name, b, nil))
		return cmp.Or(distance, strings.Compare(a, b))
	})
	var quoted []string
	for _, k := range known[:min(len(known), nearNames)] {
		quoted = append(quoted, fmt.Sprintf("%q", k))
	}
	if len(quoted) == 0 {
		return ""
	}
	return "; near are " + strings.Join(quoted, ", ")
}

// routeLocked returns the open stream of the cursor's destination, and its route there. changing is held.
func (s *streams) routeLocked(p *wal.Cursor) (open *openStream, at int, err error) {
	if s.closed {
		return nil, 0, fmt.Errorf("%w: %w", admin.ErrUnavailable, errStopping)
	}
	open = s.byName[p.Stream()]
	if open != nil {
		at = slices.IndexFunc(open.routes, func(r *route) bool { return r.conf.Name == p.Name() })
		if at >= 0 {
			return open, at, nil
		}
	}
	if Configures(s.conf, p.Stream(), p.Name()) {
		return nil, 0, fmt.Errorf("%w: stream %q is not open yet; the agent tries again every %s", admin.ErrUnavailable, p.Stream(), openRetry)
	}
	return nil, 0, fmt.Errorf("%w: destination %q of stream %q is parked: it is not in the configuration", admin.ErrConflict, p.Name(), p.Stream())
}

// pause replaces the destination's route by one that ships nothing until resume. The open requests have a moment to end.
func (s *streams) pause(p *wal.Cursor, now time.Time) error {
	if err := s.replaceByPaused(p, now); err != nil {
		return err
	}
	return s.storeAction("pause", p)
}

func (s *streams) replaceByPaused(p *wal.Cursor, now time.Time) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	open, at, err := s.routeLocked(p)
	if err != nil || !p.Paused().IsZero() {
		return err
	}
	if err := s.replaceLocked(p.Stream(), open, at, func() { p.Pause(now) }); err != nil {
		return err
	}
	s.logger.Info("destination paused", "stream", p.Stream(), "destination", p.Name(), "pending_events", p.Stat().Pending.Events)
	return nil
}

// replaceLocked replaces a route by a new one with the same settings. Unless that fails, it calls before, and then starts the
// new route. changing is held.
func (s *streams) replaceLocked(stream string, open *openStream, at int, before func()) error {
	old := open.routes[at]
	next, err := s.newRoute(stream, old.conf)
	if err != nil {
		return err
	}
	before()
	next.first = old.shape() // with the limits of its service
	routes := slices.Clone(open.routes)
	routes[at] = next
	c, _ := s.conf.Match(stream)
	s.set(stream, &openStream{rules: rulesOf(c, limitsOf(routes)), routes: routes, tentative: open.tentative})
	if !open.tentative {
		next.start()
	}
	s.leave(old)
	go s.retire(old)
	return nil
}

func (s *streams) resume(p *wal.Cursor) error {
	s.changing.Lock()
	open, at, err := s.routeLocked(p)
	if paused := p.Paused(); err == nil && !paused.IsZero() {
		p.Pause(time.Time{})
		open.routes[at].resumed.set()
		s.logger.Info("destination resumed", "stream", p.Stream(), "destination", p.Name(), "after", time.Since(paused).Round(time.Second))
	}
	s.changing.Unlock()
	if err != nil {
		return err
	}
	return s.storeAction("resumption", p)
}

// storeAction makes a change of the cursor durable.
func (s *streams) storeAction(what string, p *wal.Cursor) error {
	if err := s.checkpoint(); err != nil {
		return fmt.Errorf("the %s of destination %q takes effect now, but is not stored yet: a restart may undo it: %w", what, p.Name(), err)
	}
	return nil
}

func (s *streams) retry(p *wal.Cursor) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	open, at, err := s.routeLocked(p)
	if err != nil {
		return err
	}
	if !p.Paused().IsZero() {
		return fmt.Errorf("%w: destination %q of stream %q is paused: resume it", admin.ErrConflict, p.Name(), p.Stream())
	}
	open.routes[at].retryNow()
	return nil
}

// replayTarget returns a destination that ships, for a replay.
func (s *streams) replayTarget(stream, name string) (t replay.Target, err error) {
	p, err := s.find(stream, name)
	if err != nil {
		return t, err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	open, at, err := s.routeLocked(p)
	if err != nil {
		return t, err
	}
	if !p.Paused().IsZero() {
		return t, fmt.Errorf("%w: destination %q of stream %q is paused: resume it", admin.ErrConflict, name, stream)
	}
	r := open.routes[at]
	return replay.Target{
		Conf: r.conf, Bandwidth: r.bandwidth, Live: r.report, Left: r.halting.c, Stopping: r.finishing.c, Branches: s.log.Branches(stream),
	}, nil
}

// forget drops the dead letters of a parked destination, and then its events. If it fails in between, the destination is
// still there, and forget can be repeated.
func (a *Agent) forget(ctx context.Context, p *wal.Cursor) (dropped admin.Volume, letters int, err error) {
	if p.Stat().Parking.Next == 0 {
		return dropped, 0, a.streams.notParked(p)
	}
	if letters, err = a.letters.DropAll(ctx, p.Stream(), p.Name()); err != nil {
		return dropped, letters, fmt.Errorf("delete the dead letters of the destination: %w", err)
	}
	a.streams.changing.Lock()
	defer a.streams.changing.Unlock()
	c, err := p.Forget(ctx)
	if errors.Is(err, wal.ErrNotParked) {
		return dropped, letters, a.streams.notParked(p)
	}
	if err != nil {
		return dropped, letters, fmt.Errorf("forget destination %q of stream %q: %w", p.Name(), p.Stream(), err)
	}
	a.logger.Info("destination forgotten", "stream", p.Stream(), "destination", p.Name(),
		"dropped_events", c.Events, "dropped_bytes", c.Bytes, "dead_letters", letters)
	return volume(c), letters, nil
}

func (s *streams) notParked(p *wal.Cursor) error {
	return fmt.Errorf("%w: destination %q of stream %q is not parked; remove it from the configuration and reload first", admin.ErrConflict, p.Name(), p.Stream())
}
