package link

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
)

const (
	// While an endpoint is out of reach, the time between two tries is the outage's duration over patience. So an outage
	// is noticed to be over within a small part of its length.
	patience = 8
	// lease is the time that a sender has for its try, before another one may try too. On a silent link a try ends when the
	// connection is not open after 10 s: a lease of no more would end in the same moment, for all senders.
	lease = 15 * time.Second
	// Rejections of two destinations have one cause, as far as their beginnings show, if those of the second began at most
	// sameCause, or a quarter of the outage, before those of the first.
	sameCause = time.Second
)

// endpoint is a service that senders reach over the Link. While it is out of reach, or something before it rejects all requests,
// one sender at a time tries it.
type endpoint struct {
	paths []*Path
	tried bool // the first request to it has had an outcome, or took longer than its lease

	failure *backoff.Error // the last one; nil: it is in reach
	turn

	// Senders whose requests are rejected between them and the service, all of them as far as is known, try in turn too.
	rejecting turn
	accepted  time.Time // when a request of any sender last got through
}

// turn lets one of several senders try at a time.
type turn struct {
	since  time.Time // the beginning of the failures
	next   time.Time // the next try
	prober *Path     // the sender that tries; nil: none
	until  time.Time // the end of the prober's lease
}

// take gives a turn that is due to p. Otherwise it returns when to ask again.
func (t *turn) take(p *Path, now time.Time) (again time.Time, ok bool) {
	switch {
	case now.Before(t.next):
		return t.next, false
	case t.prober != nil && t.prober != p && now.Before(t.until):
		return t.until, false
	}
	t.prober, t.until = p, now.Add(lease)
	return again, true
}

// wait returns the longest time to the next try.
func (t *turn) wait(now time.Time, retry *backoff.Retry) time.Duration {
	return min(max(now.Sub(t.since)/patience, retry.Initial), retry.Max)
}

// draw returns when a sender asks for its turn again. It is drawn, so that a sender that is rejected for a cause of its own is not
// always the next one.
func (t *turn) draw(now time.Time) time.Time {
	if !now.Before(t.next) { // a try is under way
		return now.Add(min(t.until.Sub(now), time.Second))
	}
	return t.next.Add(rand.N(t.next.Sub(now)/4 + 1))
}

// end ends the turn of p, if it has it.
func (t *turn) end(p *Path) {
	if t.prober == p {
		t.prober = nil
	}
}

// Path is one sender's way to an endpoint. Its methods may be called from any goroutine. A nil Path is that of a sender without
// a shared link: nothing holds its requests.
type Path struct {
	link  *Link
	to    *endpoint
	name  string
	retry *backoff.Retry
	claim *Claim

	// Guarded by link.mu:
	rejected time.Time      // when the service began to reject all requests of the sender; zero: it does not
	between  *backoff.Error // the last rejection, if it is one between the sender and the service; nil: the sender tries for itself
	accepted bool           // it takes those of another one again, and the sender has not called TakeAccepted since
}

// Path returns the claim's way to the endpoint with that name. retry bounds the time between two tries.
func (c *Claim) Path(name string, retry *backoff.Retry) *Path {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.endpoints[name]
	if e == nil {
		e = &endpoint{}
		l.endpoints[name] = e
	}
	p := &Path{link: l, to: e, name: name, retry: retry, claim: c}
	e.paths = append(e.paths, p)
	return p
}

// Leave ends the path.
func (p *Path) Leave() {
	if p == nil {
		return
	}
	p.link.mu.Lock()
	defer p.link.mu.Unlock()
	if p.to.prober == p {
		p.triedLocked()
	}
	p.to.end(p)
	p.to.rejecting.end(p)
	if p.to.paths = slices.DeleteFunc(p.to.paths, func(o *Path) bool { return o == p }); len(p.to.paths) == 0 {
		delete(p.link.endpoints, p.name)
	}
}

// Hold is a reason to send nothing.
type Hold struct {
	Until time.Time
	Error *backoff.Error // nil: another sender makes the first request
}

// Try reports whether a request may start. If not, the path is held until a time, or until the Link notifies the sender.
func (p *Path) Try(now time.Time) (Hold, bool) {
	if p == nil {
		return Hold{}, true
	}
	p.link.mu.Lock()
	defer p.link.mu.Unlock()
	return p.tryLocked(now)
}

// TryInTurn is Try, but the very first request to the endpoint goes alone: the other senders are held for a lease at most.
func (p *Path) TryInTurn(now time.Time) (Hold, bool) {
	if p == nil {
		return Hold{}, true
	}
	p.link.mu.Lock()
	defer p.link.mu.Unlock()
	hold, ok := p.tryLocked(now)
	e := p.to
	switch {
	case !ok || e.tried:
		return hold, ok
	case e.prober == nil:
		e.prober, e.until = p, now.Add(lease)
	case e.prober != p && now.Before(e.until):
		return Hold{Until: e.until}, false
	case e.prober != p:
		p.triedLocked()
	}
	return Hold{}, true
}

func (p *Path) tryLocked(now time.Time) (Hold, bool) {
	e := p.to
	switch {
	case p.link.down != nil:
		return Hold{now.Add(backoff.Forever), p.link.down}, false
	case e.failure != nil:
		again, ok := e.take(p, now)
		return Hold{again, e.failure}, ok
	case p.between != nil:
		if _, ok := e.rejecting.take(p, now); !ok {
			return Hold{e.rejecting.draw(now), p.between}, false
		}
	}
	return Hold{}, true
}

// Failed notes that a request of the sender has failed. reached means that some of its bytes went out, or that the service rejected
// it. again is the next try of a sender that tries for itself. Failed returns it, or the one of senders that try in turn.
func (p *Path) Failed(err *backoff.Error, reached bool, now, again time.Time) (next time.Time) {
	if p == nil {
		return again
	}
	p.link.mu.Lock()
	defer p.link.mu.Unlock()
	e := p.to
	e.end(p)
	e.rejecting.end(p)
	defer p.triedLocked()
	if !err.Unreached {
		if reached {
			p.reachedLocked()
		}
		if p.rejected.IsZero() {
			p.rejected = now
		}
		return p.rejectedLocked(err, now, again)
	}
	if e.failure == nil {
		e.since = now
	}
	if e.failure = err; !now.Before(e.next) {
		wait := e.wait(now, p.retry)
		e.next = now.Add(wait - rand.N(wait/4+1))
	}
	return e.next
}

// rejectedLocked returns the time of the next try after a rejection. Something between the senders and the service rejects the
// requests of all of them, as far as is known, if none got through since. Then they try in turn.
func (p *Path) rejectedLocked(err *backoff.Error, now, again time.Time) (next time.Time) {
	e := p.to
	if p.between = err; !err.Between || p.rejected.Before(e.accepted.Add(-sameCause)) {
		p.between = nil
		return again
	}
	t := &e.rejecting
	if t.since.IsZero() {
		t.since = p.rejected
	}
	if !now.Before(t.next) {
		t.next = now.Add(t.wait(now, p.retry) / 4 * 3)
	}
	if !slices.ContainsFunc(e.paths, func(o *Path) bool { return o != p && o.between != nil }) { // it is alone
		if again.Before(t.next) {
			t.next = again
		}
		return again
	}
	if next = t.draw(now); next.Before(now.Add(err.RetryAfter)) {
		return now.Add(err.RetryAfter)
	}
	return next
}

// Reached notes that a request got through. The other senders to the endpoint are notified if it was out of reach, or if the
// service has rejected their requests too.
func (p *Path) Reached() {
	if p == nil {
		return
	}
	p.link.mu.Lock()
	defer p.link.mu.Unlock()
	now := time.Now()
	p.to.accepted = now
	p.to.freeLocked()
	p.reachedLocked()
	p.acceptedLocked(now)
}

// freeLocked lets each sender try for itself after rejections.
func (e *endpoint) freeLocked() {
	if e.rejecting.since.IsZero() { // all do
		return
	}
	e.rejecting = turn{}
	for _, p := range e.paths {
		p.between = nil
	}
}

// acceptedLocked ends the rejections of the sender. The other senders whose rejections began with them, or since, may try
// again. One whose rejections are older has another cause: the service throttles it alone.
func (p *Path) acceptedLocked(now time.Time) {
	if p.rejected.IsZero() {
		return
	}
	with := p.rejected.Add(-max(sameCause, now.Sub(p.rejected)/4))
	p.rejected = time.Time{}
	for _, o := range p.to.paths {
		if !o.rejected.IsZero() && !o.rejected.Before(with) {
			o.accepted = true
			o.claim.wake()
		}
	}
}

// TakeAccepted reports, once, that the service takes the requests of another sender again.
func (p *Path) TakeAccepted() bool {
	if p == nil {
		return false
	}
	p.link.mu.Lock()
	defer p.link.mu.Unlock()
	accepted := p.accepted
	p.accepted = false
	return accepted
}

// Hasten makes the next try due now, after rejections those of all senders.
func (p *Path) Hasten() {
	if p == nil {
		return
	}
	p.link.mu.Lock()
	defer p.link.mu.Unlock()
	p.to.next = time.Time{}
	p.to.freeLocked()
}

// triedLocked ends the wait for the first request to the endpoint.
func (p *Path) triedLocked() {
	if p.to.tried {
		return
	}
	p.to.tried = true
	for _, c := range p.link.claims {
		c.wake()
	}
}

func (p *Path) reachedLocked() {
	p.triedLocked()
	e := p.to
	if e.failure == nil {
		return
	}
	e.failure, e.prober, e.next = nil, nil, time.Time{}
	for _, c := range p.link.claims {
		if c != p.claim {
			c.back = true
			c.wake()
		}
	}
}

// SetDown makes the senders send nothing, for the reason that the error states, until SetUp.
func (l *Link) SetDown(reason *backoff.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = reason
	l.newsLocked()
}

// SetUp ends SetDown, and makes all senders try at once: the link has come up, or has another address.
func (l *Link) SetUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = nil
	for _, e := range l.endpoints {
		e.next, e.prober, e.since = time.Time{}, nil, time.Now()
		e.freeLocked()
	}
	l.newsLocked()
}

// newsLocked wakes all senders. They call TakeNews.
func (l *Link) newsLocked() {
	for _, c := range l.claims {
		c.news = true
		c.wake()
	}
}

// TakeNews reports, once for each SetDown and SetUp, that there was one. up is the present state.
func (c *Claim) TakeNews() (up, news bool) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	news, c.news = c.news, false
	return c.link.down == nil, news
}
