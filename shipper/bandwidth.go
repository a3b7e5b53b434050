package shipper

import (
	"time"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
	"github.com/standpipe/standpipe/shipper/internal/link"
)

// Link is a bandwidth cap that shippers share; see NewLink. SetCap changes the cap at any time.
type Link = link.Link

// NewLink makes a Link with a cap in bytes a second on the bodies of all requests; 0: none.
func NewLink(bytesPerSecond int64) *Link { return link.New(bytesPerSecond) }

// Priority is a shipper's weight on a Link while several shippers wait for it: 16 to 4 to 1.
type Priority = link.Priority

// The priorities. The zero value means PriorityNormal.
const (
	PriorityHigh   = link.PriorityHigh
	PriorityNormal = link.PriorityNormal
	PriorityLow    = link.PriorityLow
)

// firstWireRatio is the assumed number of body bytes for a byte of a request's records, until requests have shown it:
// base64 in JSON.
const firstWireRatio = 1.4

// bandwidth is a shipper's part of the Link and of its own bandwidth.
type bandwidth struct {
	claims    []*link.Claim // its own bandwidth first
	path      *link.Path    // over the shared link; nil: there is none
	notify    chan struct{} // a claim was granted, or the link works again; holds one
	wireRatio float64       // bytes of a request's body for a byte of its records
}

func newBandwidth() bandwidth {
	return bandwidth{notify: make(chan struct{}, 1), wireRatio: firstWireRatio}
}

// join claims a part of the shipper's own bandwidth, if it is limited, and of the shared link, if there is one.
func (b *bandwidth) join(o *Options) {
	if o.Bandwidth != nil {
		b.claims = append(b.claims, o.Bandwidth.Join(o.Priority, b.notify))
	}
	if o.Link != nil {
		c := o.Link.Join(o.Priority, b.notify)
		b.claims, b.path = append(b.claims, c), c.Path(o.Endpoint, &o.Retry)
	}
}

func (b *bandwidth) leave() {
	b.path.Leave()
	for _, c := range b.claims {
		c.Leave()
	}
}

// hold returns the delay of a request that waits in line, which ends with a notification.
func (b *bandwidth) hold(now time.Time) backoff.Delay {
	for _, c := range b.claims {
		if c.Waiting() {
			return backoff.Delay{Until: now.Add(backoff.Forever), Why: backoff.InLine}
		}
	}
	return backoff.Delay{}
}

// reserve charges the estimated size of a request whose records have that many bytes, and returns the charge. If ok is
// false, the request waits in line: notify reports when to try again.
func (b *bandwidth) reserve(records int) (charged int, ok bool) {
	charged = int(float64(records) * b.wireRatio)
	for _, c := range b.claims {
		if !c.Reserve(charged) {
			return charged, false
		}
	}
	for _, c := range b.claims {
		c.Use()
	}
	return charged, true
}

// correct replaces the charge of a request that has ended by the bytes that it sent.
func (b *bandwidth) correct(charged, sent int) {
	for _, c := range b.claims {
		c.Correct(sent - charged)
	}
}

// learn updates the wire ratio after a request that succeeded.
func (b *bandwidth) learn(records, sent int) {
	if sent > 0 && records > 0 {
		b.wireRatio += (float64(sent)/float64(records) - b.wireRatio) / 4
	}
}

// limit makes batches small enough for the bandwidth, so that no request occupies it for long.
func (b *bandwidth) limit(shape *Shape) {
	for _, c := range b.claims {
		if most := c.MaxBatch(); most > 0 {
			shape.MaxBatch = min(shape.MaxBatch, max(int(float64(most)/b.wireRatio), minBatch))
		}
	}
	shape.AimBatch = min(shape.AimBatch, shape.MaxBatch)
}

// reportBack notifies the other shippers of the link that it works again.
func (b *bandwidth) reportBack() { b.claims[len(b.claims)-1].ReportBack() }

// takeNews reports, once, that the link was set up or down. up is its present state.
func (b *bandwidth) takeNews() (up, news bool) {
	if b.path == nil {
		return true, false
	}
	return b.claims[len(b.claims)-1].TakeNews()
}

// takeBack reports, once, that another shipper's request got through after an outage.
func (b *bandwidth) takeBack() (back bool) {
	for _, c := range b.claims {
		back = c.TakeBack() || back
	}
	return back
}
