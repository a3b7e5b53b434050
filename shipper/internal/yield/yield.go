package yield

import (
	"time"

	"github.com/standpipe/standpipe/shipper/limit"
)

// While producers append, a backlog is read at rate, and growth times as fast as its own stream grows besides.
// So it shrinks at any rate of the producers, and leaves them most of the processors and the disk.
const (
	rate   = 32 << 20 // bytes a second
	burst  = 4 << 20
	growth = 1.5
	// appendingFor is the time after an append for which producers count as appending.
	appendingFor = 100 * time.Millisecond
)

// Throttle limits the bytes that a shipper reads beside the producers.
type Throttle struct {
	bucket   limit.Bucket // of bytes
	appended time.Time    // when an append was last seen
	all      uint64       // bytes of all streams at that time
	own      uint64       // and of the shipper's
}

// New returns a throttle. all is the number of bytes that were appended to all streams so far, own that of the stream that
// is read.
func New(all, own uint64) Throttle {
	return Throttle{bucket: limit.NewBucket(rate, burst, time.Time{}), all: all, own: own}
}

// Update takes in the bytes that all streams, and the shipper's own, have now.
func (t *Throttle) Update(now time.Time, all, own uint64) {
	if all != t.all {
		t.appended = now
	}
	t.bucket.Fill(now)
	t.bucket.Take(-growth * float64(own-t.own))
	if now.Sub(t.appended) >= appendingFor {
		t.bucket.Reset(burst)
	}
	t.all, t.own = all, own
}

// Read counts bytes that were read.
func (t *Throttle) Read(bytes int) { t.bucket.Take(float64(bytes)) }

// Wait returns the time for which the producers go first; 0: the backlog may be read.
func (t *Throttle) Wait() time.Duration {
	if t.bucket.Level() > 0 {
		return 0
	}
	return time.Duration(t.bucket.Until(1) * float64(time.Second))
}
