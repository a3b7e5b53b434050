package shipper

import (
	"fmt"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/pace"
)

const (
	// relapse is the time after the end of the last failures within which a service that rejects whole requests again,
	// because it gets too many, rejects them for their rate. The failures before may have been an outage.
	relapse = 5 * time.Second
	// longOutage is the duration of failures after which a destination may not be ready to take everything at once.
	longOutage = 10 * time.Second
)

// errSmaller: the request was too large for something on the way. Its events go again at once, in smaller requests.
var errSmaller = &Error{Class: Transient, Code: "too large", Record: -1}

// results returns the result of each record. If the request failed as a whole, each record has a failure, and unless that
// concerns single records or the request's size, the destination fails.
func (s *Shipper) results(o *outcome, now time.Time) []*Error {
	failure := o.response.Err
	if failure == nil && len(o.response.Results) != len(o.records) {
		failure = &Error{Class: Transient, Code: "malformed reply", Record: -1,
			Text: fmt.Sprintf("%d results for %d records", len(o.response.Results), len(o.records))}
	}
	if failure == nil {
		s.recovered(now)
		s.batcher.sizer.Stored(o.batch.Size(), o.response.Sent, o.response.Moving)
		s.batcher.ceiling.Pass(o.batch.Size(), now)
		countRetries(s.opts.Observer, o.response.Results)
		return o.response.Results
	}
	s.resize(o, failure)
	if failure.Class == Poison {
		return suspects(failure, len(o.records))
	}
	s.opts.Observer.Retried(failure.Class.String(), len(o.records))
	if failure.TooLarge {
		divisible := o.batch.Events() > 1
		s.batcher.ceiling.Reject(o.batch.Size(), divisible, now)
		switch {
		case divisible:
			return each(errSmaller, len(o.records))
		case s.failures == nil: // its lane fails, not the destination
			return each(failure, len(o.records))
		}
	}
	if s.failures == nil || !o.started.Before(s.failures.Delay.Until) { // a request that started earlier is no new failure
		s.fail(o, failure, now)
	}
	return each(failure, len(o.records))
}

// resize lowers the size of the next requests after one that failed, by the evidence that it gave about the link.
func (s *Shipper) resize(o *outcome, failure *Error) {
	if failure.Class != Transient || !o.cut.IsZero() {
		return
	}
	s.batcher.sizer.Failed(o.batch.Size(), o.response.Sent, o.response.Acked, o.response.Moving, failure.Code == CodeTimeout)
	s.batcher.sizer.Interrupted()
}

// each returns the same failure for each of n records.
func each(failure *Error, n int) []*Error {
	results := make([]*Error, n)
	for i := range results {
		results[i] = failure
	}
	return results
}

// fail notes that all requests fail, and slows the destination if it rejects them for their rate.
func (s *Shipper) fail(o *outcome, failure *Error, now time.Time) {
	if s.failures == nil {
		s.turns.Failed(o.started)
	}
	s.failures = s.opts.Retry.Outage(s.failures, failure, now)
	if o.started.Before(s.back) { // the link was down when it started
		s.failures.CutShort(&s.opts.Retry, now)
	}
	s.failures.Delay.Until = s.bandwidth.path.Failed(failure, o.response.Sent > 0, now, s.failures.Delay.Until)
	s.opts.Outages.Failed(s.member, s.failures)

	// Once for each outage that follows another.
	if s.batcher.pacer == nil || failure.Class != Throttled || s.failures.Count > 1 || s.calm.IsZero() || now.Sub(s.calm) > relapse {
		return
	}
	load := pace.Load{Requests: 1}
	for i := range o.records {
		load = load.Plus(o.batch.Sample(i, &o.records[i]).Load, 1)
	}
	s.batcher.pacer.Overloaded(load, o.started, now)
}

// outOfReach reports whether another destination tries the endpoint, and how long to wait for it at most: the endpoint is out
// of reach, or was never tried.
func (s *Shipper) outOfReach(now time.Time) (left time.Duration, waits bool) {
	hold, ok := s.bandwidth.path.TryInTurn(now)
	if ok || hold.Error == nil {
		return hold.Until.Sub(now), !ok
	}
	if s.failures == nil {
		s.turns.Failed(now)
		s.failures = s.opts.Retry.Again(nil, hold.Error, now)
		s.opts.Outages.Failed(s.member, s.failures)
	}
	s.failures.Delay.Until = hold.Until
	return s.failures.Delay.Left(now), true
}

// recovered notes that a request got through. After failures, one request is under way at first, then twice as many after
// each that gets through.
func (s *Shipper) recovered(now time.Time) {
	s.bandwidth.path.Reached()
	s.turns.Recovered(now, s.failures != nil, s.opts.Cursor)
	s.window = min(2*s.window, s.opts.InFlight)
	if s.failures == nil {
		return
	}
	s.window = 1
	s.lanes.release(now)
	if s.failures.Last.Class == Transient && s.opts.Link != nil {
		s.bandwidth.reportBack()
	}
	if s.batcher.pacer != nil && now.Sub(s.failures.Since) >= longOutage {
		s.batcher.pacer.Restart(now)
	}
	s.opts.Outages.Recovered(s.member, now)
	s.failures, s.calm = nil, now
}

// countRetries reports the records that will be sent again.
func countRetries(to Observer, results []*Error) {
	byClass := make(map[string]int)
	for _, r := range results {
		if r != nil && r.Class != Poison {
			byClass[r.Class.String()]++
		}
	}
	for class, n := range byClass {
		to.Retried(class, n)
	}
}
