package access

import (
	"sync"
	"time"

	"github.com/standpipe/standpipe/shipper/limit"
)

// budget limits the events and bytes of an identity. A batch takes from both buckets or from neither.
type budget struct {
	mu            sync.Mutex
	events, bytes limit.Bucket // guarded by mu
}

func newBudget(events, bytes int64) *budget {
	return &budget{events: newBucket(events), bytes: newBucket(bytes)}
}

// take takes events and bytes from the buckets, or returns the time to wait.
func (b *budget) take(now time.Time, events, bytes float64) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events.Fill(now)
	b.bytes.Fill(now)
	if wait = max(waitFor(&b.events, events), waitFor(&b.bytes, bytes)); wait > 0 {
		return wait
	}
	b.events.Take(events)
	b.bytes.Take(bytes)
	return 0
}

// newBucket returns a full bucket for one second of the rate. Rate 0: no limit.
func newBucket(rate int64) limit.Bucket {
	return limit.NewBucket(float64(rate), float64(rate), time.Time{})
}

// waitFor returns the time until the bucket has n, or is full: a batch larger than the bucket leaves it in debt.
func waitFor(b *limit.Bucket, n float64) time.Duration {
	seconds := b.Until(min(n, b.Rate()))
	if seconds == 0 {
		return 0
	}
	return max(time.Millisecond, time.Duration(seconds*float64(time.Second)).Round(time.Millisecond))
}
