package shipper

import (
	"errors"
	"fmt"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
)

const (
	// maxAgeNormal is the maximum age of a request that has events to be dropped. They are dropped when it has ended,
	// so it is cut off then: its outcome is unknown, and its events are dropped or sent again.
	maxAgeNormal = 5 * time.Second
	// maxAgeFull is the same while the log is full: then appends to every stream wait for the drop.
	maxAgeFull = 500 * time.Millisecond
	// cutGrace is the time that a request has to return once it was cut off. A write to a disk that hangs does not return.
	cutGrace = 500 * time.Millisecond
)

// ErrStuck is returned by Run when requests did not return after they were cut off. Their writes may still reach the
// destination, so no other owner may use the Sink or the Cursor before Ended is closed.
var ErrStuck = errors.New("requests were cut off and did not return")

// cutOffHolders cuts off requests that have events to be dropped, once they are old enough. It returns the time until it
// has to be called again.
func (s *Shipper) cutOffHolders(now time.Time) time.Duration {
	wake := backoff.Forever
	for _, r := range s.requests {
		if !s.holdsDropped(r) {
			continue
		}
		if r.cut.IsZero() && now.Sub(r.started) >= s.maxAge() {
			r.cut = now
			r.cancel()
		}
		if !r.cut.IsZero() && now.Sub(r.cut) >= cutGrace {
			s.giveUp(r)
			continue
		}
		wake = min(wake, cutGrace) // the log may be full by then
	}
	return wake
}

// holdsDropped reports whether the request has events that are to be dropped.
func (s *Shipper) holdsDropped(r *request) bool {
	for i := range r.batch.Shares() {
		if s.lanes.all[r.batch.Shares()[i].Lane].holds(s.floor.Offset()) {
			return true
		}
	}
	return false
}

// maxAge returns the age at which a request with events to be dropped is cut off.
func (s *Shipper) maxAge() time.Duration {
	if s.opts.Source.Full() {
		return maxAgeFull
	}
	return maxAgeNormal
}

// giveUp drops the events below the floor of a request that does not return. Its lanes send nothing before it returns.
func (s *Shipper) giveUp(r *request) {
	dropped := make(drops)
	for i := range r.batch.Shares() {
		l := s.lanes.all[r.batch.Shares()[i].Lane]
		l.stuck = true
		s.lanes.dropBelow(l, s.floor, dropped)
	}
	s.opts.Logger.Error("a request does not return after it was cut off; events are dropped though it may store them",
		"stream", s.stream, "destination", s.opts.Cursor.Name(), "after", time.Since(r.started).Round(time.Millisecond))
	s.countDropped(dropped)
}

// cutOff is the failure of a request that was cut off.
func (r *request) cutOff(took time.Duration) *Error {
	return &Error{Class: Transient, Code: CodeTimeout, Record: -1,
		Text: fmt.Sprintf("not answered after %s, and its events are to be dropped", took.Round(time.Millisecond))}
}

// drain cuts off all requests and settles their outcomes. It returns the number of requests that did not return.
func (s *Shipper) drain() (stuck int) {
	for _, r := range s.requests {
		r.cancel()
	}
	grace := time.NewTimer(cutGrace)
	defer grace.Stop()
	for len(s.requests) > 0 {
		select {
		case o := <-s.outcomes:
			s.settle(o)
		case <-grace.C:
			return len(s.requests)
		}
	}
	return 0
}

// release closes ended once the stuck requests have returned. Their outcomes are ignored: their events are pending.
func (s *Shipper) release(stuck int) error {
	if stuck == 0 {
		close(s.ended)
		return nil
	}
	s.opts.Logger.Error("requests do not return after they were cut off; the destination stays in use until they have",
		"stream", s.stream, "destination", s.opts.Cursor.Name(), "requests", stuck)
	go func() {
		for range stuck {
			<-s.outcomes
		}
		close(s.ended)
	}()
	return fmt.Errorf("%w: %d", ErrStuck, stuck)
}
