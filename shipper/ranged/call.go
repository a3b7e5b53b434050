package ranged

import (
	"context"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
)

const (
	// cutGrace is the time that a call has to return once it was cut off.
	cutGrace = 500 * time.Millisecond
	// callTimeouts is the longest duration of a call, in request timeouts. The sink limits each of its requests; this limit
	// is for sinks that fail to.
	callTimeouts = 10
)

// signals are the events that await waits for. A nil channel is not waited for.
type signals struct {
	done   <-chan struct{} // a call has ended
	grown  <-chan struct{} // the log has grown, or the floor was raised
	chunks <-chan chunk
	notify <-chan struct{} // of bandwidth
	wake   time.Duration
}

// await waits for one of the signals, and handles Finish and Halt meanwhile. It returns an error if Run must end now.
func (s *Shipper) await(ctx context.Context, on signals) error {
	s.updateReport()
	wake := min(max(on.wake, 0), s.warnings.Write(time.Now()))
	timer := time.NewTimer(wake)
	defer timer.Stop()
	select {
	case <-on.done:
	case <-on.grown:
	case c := <-on.chunks:
		s.took(&c)
	case <-on.notify:
	case <-timer.C:
	case <-s.retry:
		s.bandwidth.path.Hasten()
		s.failures.RetryNow(time.Now())
	case <-s.finished:
		s.finishing, s.finished, s.feed.readAt = true, nil, time.Time{}
	case halt := <-s.halt:
		if !s.halting {
			s.halting, s.cut = true, halt.Done()
		}
	case <-s.cut:
		s.stop = errCut
	case <-ctx.Done():
		s.stop = ctx.Err()
	}
	return s.stop
}

// call runs f, which may wait for the destination or the disk, on its own goroutine, and waits for its end. The error is
// not nil if Run must end now and f has not returned: then its results must not be used.
//
// If f concerns events of the range and these are to be dropped, it is cut off after maxAge. If it does not return then, the
// events are dropped all the same.
func (s *Shipper) call(ctx context.Context, ofRange bool, f func(ctx context.Context)) error {
	if s.stop != nil {
		return s.stop
	}
	limited, cancel := context.WithTimeout(ctx, callTimeouts*s.opts.Retry.Timeout)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(limited)
	}()
	s.wasCut, s.dropped = false, false
	wake := time.Duration(backoff.Forever)
	if ofRange {
		wake = look
	}
	for cutAt := (time.Time{}); ; {
		err := s.await(ctx, signals{done: done, wake: wake})
		select {
		case <-done:
			return nil
		default:
		}
		if err != nil {
			if s.leave(done, cancel) {
				return nil
			}
			return err
		}
		if !ofRange {
			continue
		}
		now := time.Now()
		switch s.raiseFloor(); {
		case !s.passed():
		case cutAt.IsZero() && now.Sub(s.passedAt) >= maxAge(s.opts.Source.Full()):
			s.wasCut, cutAt = true, now
			cancel()
		case !cutAt.IsZero() && now.Sub(cutAt) >= cutGrace:
			s.dropped = true
			s.dropStuck()
		}
	}
}

// backOff waits until the delay after the last failure is over, and while another destination tries an endpoint that is out of
// reach. If events of the range under way are to be dropped meanwhile,
// the error is errRestart; without a range they are dropped.
func (s *Shipper) backOff(ctx context.Context) error {
	for {
		now := time.Now()
		if !s.failures.BackingOff(now) {
			hold, ok := s.bandwidth.path.Try(now)
			if ok {
				return nil
			}
			if s.failures == nil {
				s.turns.Failed(now)
				s.failures = s.opts.Retry.Again(nil, hold.Error, now)
				s.opts.Outages.Failed(s.member, s.failures)
			}
			s.failures.Delay.Until = hold.Until
		}
		if s.halting {
			return errHalted
		}
		if s.raiseFloor(); s.passed() {
			if s.span.begun {
				return errRestart
			}
			if err := s.drop(ctx); err != nil {
				return err
			}
			continue
		}
		if err := s.await(ctx, signals{notify: s.bandwidth.notify, wake: min(s.failures.Delay.Left(now), look)}); err != nil {
			return err
		}
		if s.bandwidth.takeBack() {
			s.failures.CutShort(&s.opts.Retry, time.Now())
		}
		if s.bandwidth.path.TakeAccepted() {
			s.failures.Hasten(&s.opts.Retry, time.Now())
		}
		if up, news := s.bandwidth.takeNews(); news && up {
			s.failures.RetryNow(time.Now())
		}
	}
}
