package shipper

import (
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Retry is how a destination is tried again.
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

// trouble is a run of failures without a success between.
type trouble struct {
	delays *backoff.ExponentialBackOff
	until  time.Time // nothing is sent before
	since  time.Time // the first failure
	last   *Error
	times  int
	at     time.Time // the last failure
}

// again returns the trouble after one more failure. t is nil at the first.
func (r *Retry) again(t *trouble, err *Error, now time.Time) *trouble {
	if t == nil {
		t = &trouble{delays: r.delays(), since: now}
	}
	t.last, t.at = err, now
	t.times++
	t.until = now.Add(r.delay(t, err))
	return t
}

// delays makes full jitter of the library's backoff: with a randomization factor of 1 a delay is
// drawn from 0 to twice the interval, so the intervals are half of what is asked for. It never
// ends.
func (r *Retry) delays() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(r.Initial/2),
		backoff.WithMaxInterval(r.Max/2),
		backoff.WithRandomizationFactor(1),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0),
	)
}

// operatorJitter is which part of Max the delay of an operator's error may fall short of it.
const operatorJitter = 5

// mostThrottled bounds the delay after throttling, so that its end is noticed soon; the pace limits the load that is
// sent then.
const mostThrottled = 10 * time.Second

// delay draws the time to the next try. What the service asks for is a floor.
func (r *Retry) delay(t *trouble, err *Error) time.Duration {
	d := t.delays.NextBackOff()
	if err.Class == Throttled && d > mostThrottled {
		d = rand.N(mostThrottled)
	}
	if err.Class == Operator { // its agents would come in lockstep otherwise
		d = r.Max - rand.N(r.Max/operatorJitter+1)
	}
	return max(d, err.RetryAfter)
}

// linkBackAfter is the time from a shipper's failed try to the earliest next one when another shipper reports that the
// link is back: the link may be, and the shipper's own destination not.
const linkBackAfter = time.Second

// cutShort shortens the delay to a random part of Retry.Initial, unless the service asked for it: the link is back after
// an outage.
func (t *trouble) cutShort(r *Retry, now time.Time) {
	if t == nil || t.last.Class == Throttled || t.last.RetryAfter > 0 {
		return
	}
	again := now
	if earliest := t.at.Add(linkBackAfter); earliest.After(now) { // it may have failed in the outage's last moment
		again = earliest
	}
	if again = again.Add(rand.N(r.Initial)); again.Before(t.until) {
		t.until = again
	}
}

// release ends the delay of a lane whose destination takes requests again, unless the lane's own records are throttled
// or need an operator.
func (t *trouble) release(now time.Time) {
	if t != nil && t.last.Class == Transient && t.last.RetryAfter == 0 && now.Before(t.until) {
		t.until = now
	}
}
