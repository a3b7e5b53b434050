package shipper

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/standpipe/standpipe/shipper/limit"
)

// Priority is a shipper's part of a Link while several want it: its bytes weigh so much less. None is
// starved: with one of each busy, low gets a 21st.
type Priority int

// The priorities. The zero value is PriorityNormal.
const (
	PriorityHigh   Priority = 16
	PriorityNormal Priority = 4
	PriorityLow    Priority = 1
)

// linkHolds is how many seconds' worth an idle Link saves up, and linkBatch how much of it a batch may
// take: a request goes out whole, so that what is not sent yet can still be overtaken.
const (
	linkHolds = 1.0
	linkBatch = 0.5
)

// Link is the way out of this host that shippers share: a cap on the bytes a second of all their requests,
// and the news that it is back after an outage. Its methods may be called from several goroutines.
//
// A request is charged when it sets out and goes when nothing is owed, so over any time the link carries at
// most its cap, a second's worth and one batch. Of those that wait, the one goes next that has had least for
// its weight (start-time fair queueing); who was idle saves up nothing.
type Link struct {
	mu      sync.Mutex
	bucket  limit.Bucket // of bytes; without a limit where there is no cap
	virtual float64      // the start of the last one served
	waiting []*claim
	timer   *time.Timer // calls serve; nil until somebody waits
	claims  []*claim
}

// NewLink makes a Link of so many bytes a second; 0: no cap.
func NewLink(bytesPerSecond int64) *Link {
	l := &Link{bucket: limit.NewBucket(0, 0, time.Now())}
	l.SetCap(bytesPerSecond)
	return l
}

// SetCap changes the cap; 0: none.
func (l *Link) SetCap(bytesPerSecond int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fillLocked()
	l.bucket.Set(float64(bytesPerSecond), linkHolds*float64(bytesPerSecond))
	l.serveLocked()
}

// claim is one shipper's on a Link.
type claim struct {
	link   *Link
	weight float64
	wake   chan<- struct{} // holds one

	// Guarded by link.mu:
	start   float64 // where it stands in line
	served  float64 // bytes over weight
	wants   float64 // bytes, while it waits or once granted
	queued  bool
	granted bool // wants is charged
	back    bool // the link is back and the shipper has not heard
}

// join returns a new claim. What it waits for is told on wake.
func (l *Link) join(p Priority, wake chan<- struct{}) *claim {
	if p <= 0 {
		p = PriorityNormal
	}
	c := &claim{link: l, weight: float64(p), wake: wake}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims = append(l.claims, c)
	return c
}

// leave gives up what c waits for.
func (c *claim) leave() {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims = slices.DeleteFunc(l.claims, func(o *claim) bool { return o == c })
	l.waiting = slices.DeleteFunc(l.waiting, func(o *claim) bool { return o == c })
	if c.granted {
		l.chargeLocked(c, -c.wants)
	}
	c.queued, c.granted = false, false
	l.serveLocked()
}

// ask tells whether so many bytes may go now, and else lines up for them. A grant stays until it is used.
func (c *claim) ask(bytes int) bool {
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

// use spends the grant.
func (c *claim) use() {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.granted = false
}

// correct charges what a request has sent beyond what it was charged, which may be less than nothing.
func (c *claim) correct(bytes int) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.link.fillLocked()
	c.link.chargeLocked(c, float64(bytes))
	c.link.serveLocked()
}

// waits tells whether c is in line.
func (c *claim) waits() bool {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.queued
}

// batch returns the bytes that a request should have at most; 0: as many as it likes.
func (c *claim) batch() int {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return int(c.link.bucket.Rate() * linkBatch)
}

// announce tells the others that the link is back.
func (c *claim) announce() {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	for _, o := range c.link.claims {
		if o != c {
			o.back = true
			o.tell()
		}
	}
}

// heard tells, once, that the link is back.
func (c *claim) heard() bool {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	back := c.back
	c.back = false
	return back
}

func (c *claim) tell() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (l *Link) fillLocked() {
	l.bucket.Fill(time.Now())
	l.bucket.Cap() // a request may have given back more than fits
}

func (l *Link) chargeLocked(c *claim, bytes float64) {
	if l.bucket.Rate() > 0 {
		l.bucket.Take(bytes)
	}
	c.served += bytes / c.weight
}

// serveLocked grants as long as nothing is owed, and comes back when that will be so again.
func (l *Link) serveLocked() {
	for len(l.waiting) > 0 && (l.bucket.Rate() == 0 || l.bucket.Level() >= 0) {
		c := slices.MinFunc(l.waiting, func(a, b *claim) int { return cmp.Compare(a.start, b.start) })
		l.waiting = slices.DeleteFunc(l.waiting, func(o *claim) bool { return o == c })
		c.queued, c.granted = false, true
		l.virtual, c.served = c.start, c.start
		l.chargeLocked(c, c.wants)
		c.tell()
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
