package backoff

import (
	"math/rand/v2"
	"time"

	exponential "github.com/cenkalti/backoff/v4"
)

// Forever is the wait of a loop that only an event wakes.
const Forever = time.Hour

// Reason is why something may not be sent yet.
type Reason uint8

// The reasons.
const (
	NotDelayed   Reason = iota
	AfterFailure        // after a failure
	OutOfTokens         // the pace of its shard, or its own, has none
	InLine              // for bandwidth
)

// Delay is "not before this time, because of that". Its zero value delays nothing. Everything that keeps a lane or the
// destination from sending is one: a backoff, an empty pace, a place in line for bandwidth.
type Delay struct {
	Until time.Time
	Why   Reason
}

// Holds reports whether the delay is not over.
func (d Delay) Holds(now time.Time) bool { return now.Before(d.Until) }

// Left returns the rest of a delay that holds, else Forever: the time after which to look again.
func (d Delay) Left(now time.Time) time.Duration {
	if d.Holds(now) {
		return d.Until.Sub(now)
	}
	return Forever
}

// Retry bounds the delays after failures, and the duration of a request.
type Retry struct {
	Initial time.Duration // the first delay at most; default 100 ms
	Max     time.Duration // any delay at most, and the delay when an operator is needed; default 30 s
	Timeout time.Duration // of one request; default 30 s
}

// SetDefaults replaces zero values by the defaults.
func (r *Retry) SetDefaults() {
	if r.Initial <= 0 {
		r.Initial = 100 * time.Millisecond
	}
	if r.Max <= 0 {
		r.Max = 30 * time.Second
	}
	if r.Timeout <= 0 {
		r.Timeout = 30 * time.Second
	}
	r.Max = max(r.Max, r.Initial)
}

// Failures is a run of Failures without a success between them, of a lane or of all requests. nil is no failure.
type Failures struct {
	backoff *exponential.ExponentialBackOff
	Delay   Delay     // to the next try
	Since   time.Time // the first failure
	Last    *Error
	Count   int
	At      time.Time // of the last failure
}

// lastingFailures is the number of failures in a row after which one with a Remedy needs an operator.
const lastingFailures = 3

// Blocked reports whether an operator must change something.
func (f *Failures) Blocked() bool {
	return f.Last.Class == Operator || f.Last.Remedy != "" && f.Count >= lastingFailures
}

// Text returns the last failure, with its remedy if an operator must act.
func (f *Failures) Text() string {
	if f.Last.Remedy != "" && f.Blocked() {
		return f.Last.Error() + "; " + f.Last.Remedy
	}
	return f.Last.Error()
}

// BackingOff reports whether the delay after the last failure is not over.
func (f *Failures) BackingOff(now time.Time) bool { return f != nil && f.Delay.Holds(now) }

// Again returns the failures after one more. f is nil at the first.
func (r *Retry) Again(f *Failures, err *Error, now time.Time) *Failures {
	if f == nil {
		f = &Failures{backoff: r.newBackoff(), Since: now}
	}
	f.Last, f.At = err, now
	f.Count++
	f.Delay = Delay{now.Add(r.drawDelay(f, err)), AfterFailure}
	return f
}

// Outage is Again for a failure of requests as a whole. It bounds the delay to a part of the time for which they have failed, so
// the end of an outage is noticed within that part of its length. The service may require more, and failures that need an
// operator are not bounded.
func (r *Retry) Outage(f *Failures, err *Error, now time.Time) *Failures {
	f = r.Again(f, err, now)
	if err.Class == Operator {
		return f
	}
	most := max(now.Sub(f.Since)/patience, firstDelays)
	most -= rand.N(most / 4)
	if latest := now.Add(max(most, err.RetryAfter)); latest.Before(f.Delay.Until) {
		f.Delay.Until = latest
	}
	return f
}

// newBackoff makes full jitter of the library's backoff: with a randomization factor of 1 a delay is
// drawn from 0 to twice the interval, so the intervals are half of the configured ones. It never
// ends.
func (r *Retry) newBackoff() *exponential.ExponentialBackOff {
	return exponential.NewExponentialBackOff(
		exponential.WithInitialInterval(r.Initial/2),
		exponential.WithMaxInterval(r.Max/2),
		exponential.WithRandomizationFactor(1),
		exponential.WithMultiplier(2),
		exponential.WithMaxElapsedTime(0),
	)
}

const (
	// operatorJitter is the part of Max by which the delay of an operator's error may fall short of it, so that agents
	// do not retry in lockstep.
	operatorJitter = 5
	// maxThrottled bounds the delay after throttling, so that its end is noticed soon; the pace limits the load that is
	// sent then.
	maxThrottled = 10 * time.Second
	// linkBackAfter is the time from a shipper's failed try to the earliest next one when another shipper reports that
	// the link is back: the link may be, and the shipper's own destination not.
	linkBackAfter = time.Second
	// patience is the part of the time that all requests have failed for, by which the end of that is noticed late at most.
	// The delays of the first half second stay as they were drawn.
	patience    = 8
	firstDelays = 500 * time.Millisecond
)

// drawDelay draws the time to the next try, at least the one that the service requires.
func (r *Retry) drawDelay(f *Failures, err *Error) time.Duration {
	d := f.backoff.NextBackOff()
	if err.Class == Throttled && d > maxThrottled {
		d = rand.N(maxThrottled)
	}
	if err.Class == Operator {
		d = r.Max - rand.N(r.Max/operatorJitter+1)
	}
	return max(d, err.RetryAfter)
}

// CutShort shortens the delay to a random part of Retry.Initial, unless the service throttles or requires it: the link is
// back after an outage.
func (f *Failures) CutShort(r *Retry, now time.Time) {
	if f != nil && f.Last.Class != Throttled {
		f.Hasten(r, now)
	}
}

// Hasten is CutShort, also after throttling: the service takes the requests of another destination again, which it rejected
// during the same time.
func (f *Failures) Hasten(r *Retry, now time.Time) {
	if f == nil || f.Last.RetryAfter > 0 {
		return
	}
	again := now
	if earliest := f.At.Add(linkBackAfter); earliest.After(now) { // it may have failed in the outage's last moment
		again = earliest
	}
	if again = again.Add(rand.N(r.Initial)); again.Before(f.Delay.Until) {
		f.Delay.Until = again
	}
}

// RetryNow ends the delay.
func (f *Failures) RetryNow(now time.Time) {
	if f.BackingOff(now) {
		f.Delay.Until = now
	}
}

// Release ends the delay of a lane whose destination takes requests again, unless the lane's own records are throttled
// or need an operator.
func (f *Failures) Release(now time.Time) {
	if f != nil && f.Last.Class == Transient && f.Last.RetryAfter == 0 && f.Delay.Holds(now) {
		f.Delay.Until = now
	}
}
