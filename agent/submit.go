package agent

import (
	"context"
	"strings"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/destination"
	"github.com/standpipe/standpipe/wal"
)

// Submit submits b to the WAL. A stream that is not open becomes tentative: its destinations have their cursors, and it counts
// for the max_streams of its pattern. It is opened after its first event is stored. If all its batches are rejected, it is
// removed again.
func (s *streams) Submit(ctx context.Context, b *wal.Batch) (*wal.Ticket, error) {
	if b.Rejection == nil {
		b.Rejection = s.disk.Rejection()
	}
	s.mu.RLock()
	open := s.byName[b.Stream]
	s.mu.RUnlock()
	if open != nil && !open.tentative {
		return s.log.Submit(ctx, b)
	}
	if b.Rejection != nil { // the stream has stored nothing that this batch could repeat
		return nil, b.Rejection
	}
	name := strings.Clone(b.Stream) // the caller reuses the batch
	if err := s.reserve(name); err != nil {
		return nil, err
	}
	ticket, err := s.log.Submit(ctx, b)
	if err != nil {
		s.release(name, false)
		return nil, err
	}
	go func() {
		<-ticket.Done()
		_, err := ticket.Result()
		s.release(name, err == nil)
	}()
	return ticket, nil
}

// reserve counts a batch that may be the first of a new stream, and makes the stream tentative.
func (s *streams) reserve(name string) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.closed {
		return errStopping
	}
	if s.byName[name] == nil {
		if _, err := s.match(name); err != nil {
			return err
		}
		open, _, err := s.build(s.conf, name, nil)
		if err != nil {
			return err
		}
		open.tentative = true
		s.set(name, open)
	}
	s.reserved[name]++
	s.reserving.Add(1)
	return nil
}

// release undoes reserve, and opens the stream if the batch was stored.
func (s *streams) release(name string, stored bool) {
	defer s.reserving.Done()
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.reserved[name]--; s.reserved[name] == 0 {
		delete(s.reserved, name)
	}
	switch open := s.byName[name]; {
	case open == nil || !open.tentative: // another batch has opened it, or a reload has removed it
	case stored:
		s.set(name, &openStream{rules: open.rules, routes: open.routes})
		startRoutes(open.routes)
	case s.reserved[name] == 0:
		s.set(name, nil)
		discardRoutes(open.routes)
	}
}

// tentative reports whether no event of the open stream is stored yet.
func (s *streams) tentative(name string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	open := s.byName[name]
	return open != nil && open.tentative
}

// submitter is the ingest.Log of the listeners.
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

// Arrived records the path of a request that another agent relays. An error: it has come in a loop.
func (s *streams) Arrived(stream, path string) error {
	return s.upstreams.Arrived(destination.LogID(s.log.Branches(stream)), stream, path)
}
