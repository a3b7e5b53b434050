package ranged

import (
	"context"
	"fmt"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// restart discards the range under way. The next fill begins with Recover.
func (s *Shipper) restart(ctx context.Context) error {
	if s.span.begun {
		if err := s.call(ctx, true, func(ctx context.Context) { s.opts.Sink.Abort(ctx) }); err != nil {
			return err
		}
	}
	s.rewind()
	s.recovered = false
	if len(s.rejected) > 0 {
		return s.bury(ctx)
	}
	return nil
}

// rewind forgets the range and the queue: their unsettled events are read again.
func (s *Shipper) rewind() {
	s.span, s.passedAt = span{}, time.Time{}
	s.queue, s.next = nil, s.checkpoint
}

// recover calls Recover until it succeeds, and settles the events that the destination holds.
func (s *Shipper) recover(ctx context.Context) error {
	for {
		if err := s.backOff(ctx); err != nil {
			return err
		}
		from, state, end := s.checkpoint, s.opts.Cursor.State(), s.opts.Source.Next(s.stream)
		if len(state) == 0 {
			state = nil
		}
		var next uint64
		var failure *shipper.Error
		started := time.Now()
		err := s.call(ctx, true, func(ctx context.Context) { next, failure = s.opts.Sink.Recover(ctx, from, state) })
		if err != nil {
			return err
		}
		if failure == nil && next > end {
			failure = &shipper.Error{Class: shipper.Operator, Code: "foreign events", Record: -1,
				Text: fmt.Sprintf("the destination holds events up to offset %d of this log, which ends at %d: is the log an older copy?", next-1, end-1)}
		}
		if failure == nil {
			s.rewind()
			s.recovered = true
			s.succeeded(recovering)
			return s.settleHeld(ctx, next)
		}
		if err := s.failed(recovering, &Error{Error: *failure}, time.Since(started)); err != nil {
			return err
		}
		if s.halting {
			return errHalted
		}
	}
}

// settleHeld settles the events below next as delivered, also those that can no longer be read: a range was delivered and
// not settled.
func (s *Shipper) settleHeld(ctx context.Context, next uint64) error {
	return s.settleEach(ctx, next, &wal.Held{Delivered: next}, func(e *wal.Event, add *wal.Ledger) {
		add.Delivered.Add(countOf(e))
	})
}

func countOf(e *wal.Event) wal.Count { return wal.Count{Events: 1, Bytes: uint64(len(e.Data))} }

// settleEach settles the events from the checkpoint up to next, a chunk at a time. count adds an event to the ledger. held
// is for those that cannot be read.
func (s *Shipper) settleEach(ctx context.Context, next uint64, held *wal.Held, count func(e *wal.Event, add *wal.Ledger)) error {
	for end := false; s.checkpoint < next && !end; {
		var c chunk
		if err := s.call(ctx, false, func(context.Context) { c = s.feed.readNow(s.checkpoint, s.opts.Cursor, held) }); err != nil {
			return err
		}
		if c.err == nil {
			s.settleChunk(&c, next, count)
			end = c.End
			continue
		}
		if s.stop != nil {
			return s.stop
		}
		if !stopped(c.err) {
			s.opts.Logger.Error("the log can't be read", "stream", s.stream, "destination", s.opts.Cursor.Name(), "error", c.err)
		}
		if err := s.await(ctx, signals{wake: readAgain}); err != nil {
			return err
		}
		if s.halting {
			return errHalted
		}
	}
	s.queue, s.next = nil, s.checkpoint // the queue may have some of them
	return nil
}

// settleChunk settles the events of a chunk up to next. Those of the range under way leave it.
func (s *Shipper) settleChunk(c *chunk, next uint64, count func(e *wal.Event, add *wal.Ledger)) {
	s.noteLost(c, s.opts.Cursor)
	var add wal.Ledger
	for i := range c.Events {
		e := &c.Events[i]
		if e.Offset >= next || s.settled(e) {
			continue
		}
		count(e, &add)
		if !s.span.empty() && s.span.first <= e.Offset && e.Offset < s.span.next {
			s.span.count = s.span.count.Beyond(countOf(e))
		}
	}
	s.record(wal.Settlement{Lanes: s.advance(min(next, c.Next)), Add: add})
}

// bury makes dead letters of the rejected events and settles them. They are on the disk before the next Recover, so that no
// later range has them.
func (s *Shipper) bury(ctx context.Context) error {
	buried := 0
	for _, r := range s.rejected {
		for {
			var failure error
			var e *wal.Event
			held := s.queue.heldWith(s.span.count, s.next)
			err := s.call(ctx, false, func(context.Context) { e, failure = s.putDead(&r, held) })
			if err != nil {
				return err
			}
			if failure == nil {
				s.lanes = s.opts.Cursor.Lanes() // the event may be lost
				if e != nil {
					s.settleDead(e, &r)
					buried++
				}
				break
			}
			s.fail(recovering, &shipper.Error{Class: shipper.Operator, Code: "dead letter", Record: -1,
				Text: fmt.Sprintf("the rejected event %d could not be kept: %v", r.Offset, failure)}, time.Now())
			if err := s.backOff(ctx); err != nil {
				return err
			}
		}
	}
	s.rejected = nil
	if buried == 0 { // else the same range would follow at once
		s.fail(adding, &shipper.Error{Class: shipper.Operator, Code: "internal fault", Record: -1, Text: "the rejected events are not pending"}, time.Now())
	}
	return s.sync(ctx)
}

// putDead makes a dead letter of a rejected event. The event is nil if it is not in the log, or is settled.
func (s *Shipper) putDead(r *Rejection, held *wal.Held) (*wal.Event, error) {
	c := s.feed.readNow(r.Offset, s.opts.Cursor, held)
	if c.err != nil {
		return nil, c.err
	}
	if len(c.Events) == 0 || c.Events[0].Offset != r.Offset || s.settled(&c.Events[0]) {
		return nil, nil
	}
	e := &c.Events[0]
	return e, s.opts.Dead.Put(deadletter.Letter{
		Stream: s.stream, Destination: s.opts.Cursor.Name(), Event: *e, Reason: r.Reason, At: time.Now(),
	})
}

func (s *Shipper) settleDead(e *wal.Event, r *Rejection) {
	l := &s.lanes[e.Lane]
	dead := wal.Progress{Checkpoint: l.Checkpoint, Settled: []wal.Run{{First: e.Offset, Next: e.Offset + 1}}}
	if l.Checkpoint == e.Offset {
		dead = wal.Progress{Checkpoint: e.Offset + 1}
	}
	*l = dead.With(*l)
	s.record(wal.Settlement{Lanes: map[uint8]wal.Progress{e.Lane: *l}, Add: wal.Ledger{Dead: countOf(e)}})
	s.warnings.Dead(e, &shipper.Error{Class: shipper.Poison, Code: r.Reason, Record: -1})
}
