package agent

import (
	"context"
	"fmt"
	"strings"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// Submit hands b to the log. A stream that is not open is opened once the log holds its first event, so that rejected
// requests leave nothing behind. From here until then its name counts among those that its pattern may have.
func (s *streams) Submit(ctx context.Context, b *wal.Batch) (*wal.Ticket, error) {
	s.mu.RLock()
	open := s.byName[b.Stream] != nil
	s.mu.RUnlock()
	if open {
		return s.log.Submit(ctx, b)
	}
	name := strings.Clone(b.Stream) // the caller's batch is reused
	if err := s.reserve(name); err != nil {
		return nil, err
	}
	ticket, err := s.log.Submit(ctx, b)
	if err != nil {
		s.settleReserved(name, false)
		return nil, err
	}
	go func() {
		<-ticket.Done()
		_, err := ticket.Result()
		s.settleReserved(name, err == nil)
	}()
	return ticket, nil
}

// reserve counts a batch that may be the first of a new stream.
func (s *streams) reserve(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errStopping
	}
	c, err := s.matchLocked(name)
	if err != nil {
		return err
	}
	if !s.countedLocked(name) {
		s.made[c.Name]++
	}
	s.reserved[name]++
	s.reserving.Add(1)
	return nil
}

// settleReserved ends what reserve began. The first batch that is stored opens the stream.
func (s *streams) settleReserved(name string, stored bool) {
	defer s.reserving.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if stored {
		if _, err := s.openLocked(name, nil); err != nil {
			s.logger.Warn("stream not open; its events are kept", "stream", name, "error", err)
		}
	}
	if s.reserved[name]--; s.reserved[name] > 0 {
		return
	}
	delete(s.reserved, name)
	if c, ok := s.conf.Match(name); ok && !s.countedLocked(name) {
		s.made[c.Name]--
	}
}

// countedLocked tells whether made counts the stream: it is open, or the log may be storing its first event.
func (s *streams) countedLocked(name string) bool {
	return s.byName[name] != nil || s.reserved[name] > 0
}

// matchLocked returns the block of a stream that may be opened. A pattern that has as many streams as it may gets no
// more. Those that the log holds already are opened all the same, and count.
func (s *streams) matchLocked(name string) (*config.Stream, error) {
	c, ok := s.conf.Match(name)
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: %q; configured are %s", ingest.ErrNoStream, name, s.configuredLocked())
	case c.MaxStreams > 0 && s.made[c.Name] >= c.MaxStreams && !s.countedLocked(name):
		return nil, fmt.Errorf("%w: %q is new, and %q has %d already; max_streams in its block allows no more: nothing was stored",
			ingest.ErrTooManyStreams, name, c.Name, s.made[c.Name])
	}
	return c, nil
}

// newRules returns what a stream that is not open takes, as far as the configuration tells.
func newRules(name string, c *config.Stream) (rules ingest.StreamRules, err error) {
	rooms := make([]room, len(c.Destinations))
	for i, d := range c.Destinations {
		shape, err := shapeOf(name, d.For(name))
		if err != nil {
			return rules, fmt.Errorf("destination %q: %w", d.Name, err)
		}
		rooms[i] = room{titleOf(d), func() shipper.Shape { return shape }}
	}
	return rulesOf(c, rooms), nil
}

// submitter is the log as listeners use it.
type submitter struct {
	ingest.Log
	streams *streams
}

func (l submitter) Submit(ctx context.Context, b *wal.Batch) (ingest.Ticket, error) {
	t, err := l.streams.Submit(ctx, b)
	if err != nil {
		return nil, err
	}
	return t, nil
}
