package shipper

import (
	"time"

	"github.com/standpipe/standpipe/shipper/limit"
)

// While producers append, a backlog is read at yieldRate, and yieldGrowth times as fast as its own stream grows besides.
// So it shrinks at any rate of the producers, and leaves them most of the processors and the disk.
const (
	yieldRate   = 32 << 20 // bytes a second
	yieldBurst  = 4 << 20
	yieldGrowth = 1.5
	// appendingFor is the time after an append for which producers count as appending.
	appendingFor = 100 * time.Millisecond
)

// readThrottle limits the bytes that a shipper reads beside the producers.
type readThrottle struct {
	bucket   limit.Bucket // of bytes
	appended time.Time    // when an append was last seen
	all      uint64       // bytes of all streams at that time
	own      uint64       // and of the shipper's
}

func newReadThrottle(all, own uint64) readThrottle {
	return readThrottle{bucket: limit.NewBucket(yieldRate, yieldBurst, time.Time{}), all: all, own: own}
}

// update takes in the bytes that all streams, and the shipper's own, have now.
func (t *readThrottle) update(now time.Time, all, own uint64) {
	if all != t.all {
		t.appended = now
	}
	t.bucket.Fill(now)
	t.bucket.Take(-yieldGrowth * float64(own-t.own))
	if now.Sub(t.appended) >= appendingFor {
		t.bucket.Reset(yieldBurst)
	}
	t.all, t.own = all, own
}

// read counts bytes that were read.
func (t *readThrottle) read(bytes int) { t.bucket.Take(float64(bytes)) }

// wait returns the time for which the producers go first; 0: the backlog may be read.
func (t *readThrottle) wait() time.Duration {
	if t.bucket.Level() > 0 {
		return 0
	}
	return time.Duration(t.bucket.Until(1) * float64(time.Second))
}
