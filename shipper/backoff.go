package shipper

import (
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// forever is the time until the next round of Run's loop where only an event wakes it.
const forever = time.Hour

// reason is why something may not be sent yet.
type reason uint8

const (
	notDelayed  reason = iota
	backingOff         // after a failure
	outOfTokens        // the pace of its shard, or its own, has none
	inLine             // for bandwidth
)

// delay is "not before this time, because of that". Its zero value delays nothing. Everything that keeps a lane or the
// destination from sending is one: a backoff, an empty pace, a place in line for bandwidth.
type delay struct {
	until time.Time
	why   reason
}

// holds reports whether the delay is not over.
func (d delay) holds(now time.Time) bool { return now.Before(d.until) }

// left returns the rest of a delay that holds, else forever: the time after which to look again.
func (d delay) left(now time.Time) time.Duration {
	if d.holds(now) {
		return d.until.Sub(now)
	}
	return forever
}

// Retry bounds the delays after failures, and the duration of a request.
type Retry struct {
	Initial time.Duration // the first delay at most; default 100 ms
	Max     time.Duration // any delay at most, and the delay when an operator is needed; default 30 s
	Timeout time.Duration // of one request; default 30 s
}

func (r *Retry) defaults() {
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

// failures is a run of failures without a success between them, of a lane or of all requests. nil is no failure.
type failures struct {
	backoff *backoff.ExponentialBackOff
	delay   delay     // to the next try
	since   time.Time // the first failure
	last    *Error
	count   int
	at      time.Time // of the last failure
}

// backingOff reports whether the delay after the last failure is not over.
func (f *failures) backingOff(now time.Time) bool { return f != nil && f.delay.holds(now) }

// again returns the failures after one more. f is nil at the first.
func (r *Retry) again(f *failures, err *Error, now time.Time) *failures {
	if f == nil {
		f = &failures{backoff: r.newBackoff(), since: now}
	}
	f.last, f.at = err, now
	f.count++
	f.delay = delay{now.Add(r.drawDelay(f, err)), backingOff}
	return f
}

// newBackoff makes full jitter of the library's backoff: with a randomization factor of 1 a delay is
// drawn from 0 to twice the interval, so the intervals are half of the configured ones. It never
// ends.
func (r *Retry) newBackoff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(r.Initial/2),
		backoff.WithMaxInterval(r.Max/2),
		backoff.WithRandomizationFactor(1),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0),
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
)

// drawDelay draws the time to the next try, at least the one that the service requires.
func (r *Retry) drawDelay(f *failures, err *Error) time.Duration {
	d := f.backoff.NextBackOff()
	if err.Class == Throttled && d > maxThrottled {
		d = rand.N(maxThrottled)
	}
	if err.Class == Operator {
		d = r.Max - rand.N(r.Max/operatorJitter+1)
	}
	return max(d, err.RetryAfter)
}

// cutShort shortens the delay to a random part of Retry.Initial, unless the service requires it: the link is back after
// an outage.
func (f *failures) cutShort(r *Retry, now time.Time) {
	if f == nil || f.last.Class == Throttled || f.last.RetryAfter > 0 {
		return
	}
	again := now
	if earliest := f.at.Add(linkBackAfter); earliest.After(now) { // it may have failed in the outage's last moment
		again = earliest
	}
	if again = again.Add(rand.N(r.Initial)); again.Before(f.delay.until) {
		f.delay.until = again
	}
}

// release ends the delay of a lane whose destination takes requests again, unless the lane's own records are throttled
// or need an operator.
func (f *failures) release(now time.Time) {
	if f != nil && f.last.Class == Transient && f.last.RetryAfter == 0 && f.delay.holds(now) {
		f.delay.until = now
	}
}
