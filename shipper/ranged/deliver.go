package ranged

import (
	"bytes"
	"context"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// deliver seals the range, stores its state, commits it until that succeeds, and settles it.
func (s *Shipper) deliver(ctx context.Context) error {
	// The state, and all drops and dead letters before the range, are on the disk before the destination can hold the range.
	// So after a crash, Recover has the state of any range that may have been delivered, and the destination holds all
	// unsettled events below the offset that Recover returns.
	s.span.sealed = true
	state := s.opts.Sink.Seal()
	if state != nil {
		s.record(wal.Settlement{State: bytes.Clone(state)})
	}
	if state != nil || s.unstored {
		if err := s.sync(ctx); err != nil {
			return err
		}
	}
	for {
		if err := s.backOff(ctx); err != nil {
			return err
		}
		var outcome Outcome
		var failure *Error
		started := time.Now()
		err := s.call(ctx, true, func(ctx context.Context) { outcome, failure = s.opts.Sink.Commit(ctx) })
		if err != nil {
			return err
		}
		if failure == nil && s.span.lossy {
			s.span.begun = false // it was delivered: Recover finds that, and there is nothing to abort
			return errRestart
		}
		if failure == nil {
			s.settle(&outcome, time.Since(started))
			if outcome.Sync {
				return s.sync(ctx)
			}
			return nil
		}
		if err := s.failed(committing, failure, time.Since(started)); err != nil {
			return err
		}
	}
}

// settle settles the range that was delivered: the log gets the new checkpoint, the counts and the sink's state in one step.
func (s *Shipper) settle(o *Outcome, took time.Duration) {
	n := max(o.Requests, 1)
	for range n {
		s.opts.Observer.Request(o.Code, took/time.Duration(n))
	}
	next := s.span.next
	if len(s.queue) == 0 {
		next = s.next // the events in between are settled
	}
	step := wal.Settlement{Lanes: s.advance(next), State: bytes.Clone(o.State)}
	step.Add = wal.Ledger{
		Delivered: s.span.count, Requests: uint64(o.Requests), Records: uint64(o.Records), BilledBytes: o.BilledBytes,
		LastDelivery: time.Now(),
	}
	s.record(step)
	s.bandwidth.correct(o.BilledBytes)
	s.sent += o.BilledBytes
	s.newest = s.span.newest
	s.span, s.passedAt = span{}, time.Time{}
	s.succeeded(committing)
}

// sync waits until all settlements are on the disk.
func (s *Shipper) sync(ctx context.Context) error {
	for {
		var failure error
		err := s.call(ctx, false, func(ctx context.Context) { failure = s.opts.Source.Sync(ctx) })
		if err != nil {
			return err
		}
		if failure == nil {
			s.unsynced, s.unstored = "", false
			return nil
		}
		if s.unsynced == "" && !stopped(failure) {
			s.opts.Logger.Warn("checkpoint not stored; the destination waits for it", "stream", s.stream,
				"destination", s.opts.Cursor.Name(), "error", failure)
		}
		s.unsynced = "checkpoint not stored: " + failure.Error()
		for again := time.Now().Add(readAgain); time.Now().Before(again); {
			if s.halting {
				return errHalted
			}
			if err := s.await(ctx, signals{wake: time.Until(again)}); err != nil {
				return err
			}
		}
	}
}

// step is a step of a range.
type step uint8

const (
	recovering step = iota
	adding
	committing
)

// failed notes a failure of a call of the sink. It returns nil if the call is to be repeated after the backoff.
func (s *Shipper) failed(at step, e *Error, took time.Duration) error {
	if s.stop != nil { // the call was cut off
		return s.stop
	}
	failure := e.Error
	if failure.Class == shipper.Poison { // of no event
		failure.Class = shipper.Operator
	}
	if s.wasCut {
		failure = shipper.Error{Class: shipper.Transient, Code: shipper.CodeTimeout, Record: -1,
			Text: "not answered after " + took.Round(time.Millisecond).String() + ", and its events are to be dropped"}
	}
	s.opts.Observer.Request(failure.Code, took)
	if len(e.Rejected) > 0 {
		s.rejected = e.Rejected
		return errRestart
	}
	s.opts.Observer.Retried(failure.Class.String(), int(min(s.span.count.Events, 1<<30)))
	s.fail(at, &failure, time.Now().Add(-took))
	if e.Restart || s.wasCut && at != recovering {
		return errRestart
	}
	return nil
}

// fail begins a backoff after a call that began at started.
func (s *Shipper) fail(at step, failure *shipper.Error, started time.Time) {
	if s.failures == nil {
		s.turns.Failed(started)
	}
	s.failures = s.opts.Retry.Outage(s.failures, failure, time.Now())
	s.failedAt, s.gained = max(s.failedAt, at), false
	reached := failure.Class != shipper.Transient || failure.Code == shipper.CodeTimeout
	s.failures.Delay.Until = s.bandwidth.path.Failed(failure, reached, time.Now(), s.failures.Delay.Until)
	s.opts.Outages.Failed(s.member, s.failures)
}

// succeeded ends the failures of a step and of earlier ones. After a failed Commit, only a Commit shows that the destination
// takes ranges again.
func (s *Shipper) succeeded(at step) {
	ends := s.failures != nil && at >= s.failedAt
	if ends || at == committing { // an earlier step that has not failed may need no connection
		s.bandwidth.path.Reached()
	}
	if ends {
		now := time.Now()
		s.bandwidth.reportBack(s.failures.Last.Class)
		s.failures, s.failedAt = nil, 0
		s.opts.Outages.Recovered(s.member, now)
		if s.turns.Recovered(now, true, s.opts.Cursor); s.turns.Ended {
			s.turns.Ended = false
			s.turns.Begin(now, s.opts.Source.Next(s.stream))
		}
	}
	s.reporter.moving()
}
