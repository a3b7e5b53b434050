package ranged

import (
	"context"
	"errors"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// fill passes events to the sink until the range is to be sealed: it is full or due, or its events are to be dropped, or the
// log has no more events and Run is to finish. The error is errDone if nothing is left to ship.
func (s *Shipper) fill(ctx context.Context) error {
	for {
		grown := s.opts.Source.Grown(s.stream)
		now := time.Now()
		select {
		case c := <-s.feed.chunks:
			s.took(&c)
		default:
		}
		s.raiseFloor()
		switch {
		case s.stop != nil:
			return s.stop
		case ctx.Err() != nil:
			return ctx.Err()
		case s.halting:
			return errHalted
		case !s.span.empty() && (s.span.full || s.due(now)):
			return nil
		case !s.span.empty() && s.crowded(now):
			return nil
		case !s.span.empty() && s.passed():
			if s.failures != nil {
				return errRestart
			}
			return nil
		}

		// Events are dropped after Recover, so that none of them counts as dropped although it was delivered.
		if !s.recovered && (len(s.queue) > 0 || s.passed()) {
			if err := s.recover(ctx); err != nil {
				return err
			}
			continue
		}
		if s.passed() {
			if err := s.drop(ctx); err != nil {
				return err
			}
			continue
		}

		// The next chunk is read while the sink adds this one.
		wake := time.Duration(0)
		if s.queue.memory() <= s.opts.ReadBytes {
			wake = s.feed.request(now, s.next, s.finishing)
		}
		if len(s.queue) > 0 {
			if err := s.backOff(ctx); err != nil {
				return err
			}
			if err := s.add(ctx); err != nil {
				return err
			}
			continue
		}
		atEnd := !s.feed.reading && s.next >= s.opts.Source.Next(s.stream)
		if s.finishing && atEnd {
			if s.span.empty() {
				return errDone
			}
			return nil
		}
		if !s.span.empty() {
			if due := s.opts.Sink.Due(); !due.IsZero() {
				wake = min(wake, due.Sub(now))
			}
			wake = min(wake, look)
		}
		if s.feed.reading || now.Before(s.feed.readAt) {
			grown = nil
		}
		s.reporter.rest(atEnd)
		if err := s.await(ctx, signals{grown: grown, chunks: s.feed.chunks, wake: wake}); err != nil {
			return err
		}
		s.reporter.rest(false)
	}
}

// due reports whether the range is to be sealed although it is not full.
func (s *Shipper) due(now time.Time) bool {
	due := s.opts.Sink.Due()
	return !due.IsZero() && !now.Before(due)
}

const (
	// A range that has all events of the log is sealed early if the log is crowded, since the range itself may fill it.
	crowdedShare = 4               // the log is crowded if less than this part of its limit is free
	crowdedAge   = 5 * time.Second // the least age of such a range
)

// crowded reports whether the range is to be sealed to make room in the log.
func (s *Shipper) crowded(now time.Time) bool {
	if now.Sub(s.span.since) < crowdedAge || s.feed.reading || len(s.queue) > 0 || s.next < s.opts.Source.Next(s.stream) {
		return false
	}
	log := s.opts.Source.Stat()
	return s.opts.Source.Full() || log.MaxBytes > 0 && log.Bytes >= log.MaxBytes-log.MaxBytes/crowdedShare
}

// took puts the unsettled events of a read into the queue.
func (s *Shipper) took(c *chunk) {
	var corrupt *wal.CorruptError
	if errors.As(c.err, &corrupt) {
		s.feed.wants <- want{from: c.from, lose: s.opts.Cursor.Lose(corrupt, c.Next, s.queue.heldWith(s.span.count, s.next))}
		return
	}
	s.feed.took(c, s.finishing)
	if c.err != nil {
		if !stopped(c.err) {
			s.opts.Logger.Error("the log can't be read", "stream", s.stream, "destination", s.opts.Cursor.Name(), "error", c.err)
		}
		return
	}
	s.noteLost(c, s.opts.Cursor)
	if c.from != s.next { // the range has been discarded since
		return
	}
	p := part{events: c.Events[:0]}
	for i := range c.Events {
		if e := &c.Events[i]; !s.settled(e) {
			p.held += e.Memory()
			p.events = append(p.events, *e)
		}
	}
	clear(c.Events[len(p.events):])
	if len(p.events) > 0 {
		s.queue = append(s.queue, p)
	}
	s.next = max(s.next, c.Next)
	s.reporter.moving()
	if s.span.empty() && len(s.queue) == 0 && s.next > s.checkpoint {
		s.record(wal.Settlement{Lanes: s.advance(s.next)})
	}
}

// add passes the first events of the queue to the sink, or waits for bandwidth.
func (s *Shipper) add(ctx context.Context) error {
	if len(s.queue) == 0 { // they were dropped
		return nil
	}
	events, data := s.bandwidth.part(s.queue[0].events)
	if s.inLine = !s.bandwidth.reserve(data); s.inLine {
		return s.await(ctx, signals{notify: s.bandwidth.notify, wake: look})
	}
	var n int
	var failure *Error
	s.span.begun = true
	started := time.Now()
	err := s.call(ctx, true, func(ctx context.Context) { n, failure = s.opts.Sink.Add(ctx, events) })
	if err != nil {
		return err
	}
	if s.dropped {
		return errRestart
	}
	s.span.add(events[:n])
	if s.queue[0].events = s.queue[0].events[n:]; len(s.queue[0].events) == 0 {
		s.queue = s.queue[1:]
	}
	if n > 0 {
		s.gained = true
		s.reporter.moving()
	}
	switch {
	case failure != nil:
		return s.failed(adding, failure, time.Since(started))
	case n == 0 && s.span.empty():
		return s.failed(adding, &Error{Error: shipper.Error{Class: shipper.Operator, Code: "internal fault", Record: -1,
			Text: "the destination takes no event"}, Restart: true}, 0)
	}
	s.succeeded(adding)
	s.span.full = n < len(events)
	return nil
}
