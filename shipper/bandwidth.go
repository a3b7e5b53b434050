package shipper

import (
	"math/rand/v2"
	"time"
)

// firstWire is how many bytes of a request's body a byte of its records makes, until requests have shown
// it: base64 in JSON.
const firstWire = 1.4

// join claims what the shipper shares, its own bandwidth first.
func (s *Shipper) join() {
	if s.opts.Bandwidth > 0 {
		s.claims = append(s.claims, NewLink(s.opts.Bandwidth).join(s.opts.Priority, s.news))
	}
	if s.opts.Link != nil {
		s.claims = append(s.claims, s.opts.Link.join(s.opts.Priority, s.news))
	}
}

// inLine tells whether the shipper waits for bandwidth.
func (s *Shipper) inLine() bool {
	for _, c := range s.claims {
		if c.waits() {
			return true
		}
	}
	return false
}

// mayGo charges the bandwidth for a batch, or lines up for it: then news tells when to try again.
func (s *Shipper) mayGo(b *batch) bool {
	b.charged = int(float64(b.size) * s.wire)
	for _, c := range s.claims {
		if !c.ask(b.charged) {
			return false
		}
	}
	for _, c := range s.claims {
		c.use()
	}
	return true
}

// sent sets right what a request was charged.
func (s *Shipper) sent(o *outcome) {
	for _, c := range s.claims {
		c.correct(o.reply.Sent - o.batch.charged)
	}
	if o.reply.Err == nil && o.reply.Sent > 0 && o.batch.size > 0 {
		s.wire += (float64(o.reply.Sent)/float64(o.batch.size) - s.wire) / 4
	}
}

// narrow makes batches small enough for the bandwidth, so that no request takes it all for long.
func (s *Shipper) narrow(shape *Shape) {
	for _, c := range s.claims {
		if most := c.batch(); most > 0 {
			shape.MaxBatch = min(shape.MaxBatch, max(int(float64(most)/s.wire), leastBatch))
		}
	}
	shape.AimBatch = min(shape.AimBatch, shape.MaxBatch)
}

// heardAgain is how long after a try of its own that failed a shipper tries again at the earliest when
// it hears that the link is back: the link may be, and the shipper's own destination not.
const heardAgain = time.Second

// hear: a claim has news. Another shipper's request has got through, which is told once.
func (s *Shipper) hear(now time.Time) {
	for _, c := range s.claims {
		if c.heard() {
			s.back = now
			s.tryEarly(now)
		}
	}
}

// tryEarly cuts what is left of a backoff that is not the service's wish to the shortest, still at random.
func (s *Shipper) tryEarly(now time.Time) {
	t := s.trouble
	if t == nil || t.last.Class == Throttled || t.last.RetryAfter > 0 {
		return
	}
	again := now
	if earliest := t.at.Add(heardAgain); earliest.After(now) { // it may have failed in the outage's last moment
		again = earliest
	}
	if again = again.Add(rand.N(s.opts.Retry.Initial)); again.Before(t.until) {
		t.until = again
	}
}

// release: the destination takes requests again. Lanes that failed with it need wait no longer; those whose
// own records are throttled, or need an operator, do.
func (s *Shipper) release(now time.Time) {
	for _, l := range s.lanes {
		if t := l.trouble; t != nil && t.last.Class == Transient && t.last.RetryAfter == 0 && now.Before(t.until) {
			t.until = now
		}
	}
}
