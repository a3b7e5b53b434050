package link

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
	"github.com/standpipe/standpipe/shipper/limit"
)

// Priority is the weight of a sender on a Link while several senders wait. With one busy sender of each priority, a low
// one gets 1/21 of the bandwidth.
type Priority int

// The priorities. The zero value means PriorityNormal.
const (
	PriorityHigh   Priority = 16
	PriorityNormal Priority = 4
	PriorityLow    Priority = 1
)

const (
	// burst is the number of seconds whose bytes an idle Link saves up.
	burst = 1.0
	// batchPart is the part of a second's bytes that one request should have at most: a request goes out whole, and
	// only requests that have not started can be overtaken.
	batchPart = 0.5
)

// Link is the outbound bandwidth of this host, shared by several senders. It caps the bytes a second of all their
// requests, and notifies them when the network works again after an outage.
//
// A request is charged when it starts, and may start while the Link has no debt. The next waiting claim to start is the
// one with the fewest bytes served for its weight.
type Link struct {
	mu      sync.Mutex
	bucket  limit.Bucket // of bytes; unlimited if there is no cap
	virtual float64      // the start tag of the claim that was served last
	waiting []*Claim
	timer   *time.Timer // calls serve; nil until a claim waits
	claims  []*Claim

	endpoints map[string]*endpoint // by name
	down      *backoff.Error       // why nothing is sent; nil: the link is up, as far as is known
}

// New makes a Link with a cap in bytes a second; 0: none.
func New(bytesPerSecond int64) *Link {
	l := &Link{bucket: limit.NewBucket(0, 0, time.Now()), endpoints: make(map[string]*endpoint)}
	l.SetCap(bytesPerSecond)
	return l
}

// SetCap changes the cap; 0: none.
func (l *Link) SetCap(bytesPerSecond int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fillLocked()
	l.bucket.Set(float64(bytesPerSecond), burst*float64(bytesPerSecond))
	l.serveLocked()
}

// Claim is one sender's part of a Link.
type Claim struct {
	link   *Link
	weight float64
	notify chan<- struct{} // of capacity 1

	// Guarded by link.mu:
	start   float64 // the start tag while the claim waits
	served  float64 // bytes over weight
	wants   float64 // bytes, while it waits or holds a grant
	queued  bool
	granted bool // the bucket is charged with the wanted bytes
	back    bool // the link works again and the sender has not called TakeBack since
	news    bool // the link was set down or up and the sender has not called TakeNews since
}

// Join returns a new claim. The Link sends on notify, without blocking, when the claim's reservation is granted and when
// another sender reports that the link works again. notify needs room for one value.
func (l *Link) Join(p Priority, notify chan<- struct{}) *Claim {
	if p <= 0 {
		p = PriorityNormal
	}
	c := &Claim{link: l, weight: float64(p), notify: notify}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims = append(l.claims, c)
	return c
}

// Leave ends the claim and returns its unused grant.
func (c *Claim) Leave() {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims = slices.DeleteFunc(l.claims, func(o *Claim) bool { return o == c })
	l.waiting = slices.DeleteFunc(l.waiting, func(o *Claim) bool { return o == c })
	if c.granted {
		l.chargeLocked(c, -c.wants)
	}
	c.queued, c.granted = false, false
	l.serveLocked()
}

// Reserve reports whether a request of that many bytes may start now. If not, the claim waits in line, and its sender is
// notified of the grant. A grant stays until Use; a second Reserve adjusts its size.
func (c *Claim) Reserve(bytes int) bool {
	l, n := c.link, float64(bytes)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fillLocked()
	switch {
	case l.bucket.Rate() == 0 && !c.queued && !c.granted:
		return true
	case c.granted:
		l.chargeLocked(c, n-c.wants)
	case c.queued:
		c.wants = n
		return false
	default:
		c.start = max(c.served, l.virtual)
		c.wants, c.queued = n, true
		l.waiting = append(l.waiting, c)
		l.serveLocked()
	}
	c.wants = n
	return c.granted
}

// Use spends the grant: the request starts.
func (c *Claim) Use() {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.granted = false
}

// Correct charges the bytes by which a request exceeded its reservation; negative: it stayed below.
func (c *Claim) Correct(bytes int) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.link.fillLocked()
	c.link.chargeLocked(c, float64(bytes))
	c.link.serveLocked()
}

// Waiting reports whether the claim is in line.
func (c *Claim) Waiting() bool {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.queued
}

// MaxBatch returns the number of bytes that one request should have at most; 0: no limit.
func (c *Claim) MaxBatch() int {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return int(c.link.bucket.Rate() * batchPart)
}

// ReportBack notifies the other senders that the link works again after an outage.
func (c *Claim) ReportBack() {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	for _, o := range c.link.claims {
		if o != c {
			o.back = true
			o.wake()
		}
	}
}

// TakeBack reports, once for each ReportBack of another sender, that the link works again.
func (c *Claim) TakeBack() bool {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	back := c.back
	c.back = false
	return back
}

func (c *Claim) wake() {
	select {
	case c.notify <- struct{}{}:
	default:
	}
}

func (l *Link) fillLocked() {
	l.bucket.Fill(time.Now())
	l.bucket.Cap() // a corrected request may have returned more than fits
}

func (l *Link) chargeLocked(c *Claim, bytes float64) {
	if l.bucket.Rate() > 0 {
		l.bucket.Take(bytes)
	}
	c.served += bytes / c.weight
}

// serveLocked grants reservations while the Link has no debt. If claims still wait, it sets the timer for the moment at
// which the debt is paid.
func (l *Link) serveLocked() {
	for len(l.waiting) > 0 && (l.bucket.Rate() == 0 || l.bucket.Level() >= 0) {
		c := slices.MinFunc(l.waiting, func(a, b *Claim) int { return cmp.Compare(a.start, b.start) })
		l.waiting = slices.DeleteFunc(l.waiting, func(o *Claim) bool { return o == c })
		c.queued, c.granted = false, true
		l.virtual, c.served = c.start, c.start
		l.chargeLocked(c, c.wants)
		c.wake()
	}
	if len(l.waiting) == 0 {
		return
	}
	wait := time.Duration(l.bucket.Until(0)*1e9) + 1
	if l.timer == nil {
		l.timer = time.AfterFunc(wait, l.serve)
		return
	}
	l.timer.Reset(wait)
}

func (l *Link) serve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fillLocked()
	l.serveLocked()
}
