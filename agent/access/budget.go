package access

import (
	"sync"
	"time"
)

// budget is what an identity may send, in events and in bytes. It is not golang.org/x/time/rate: a batch
// takes of both or of neither, and may be larger than all that a bucket holds.
type budget struct {
	mu            sync.Mutex
	events, bytes bucket // guarded by mu
}

func newBudget(events, bytes int64) *budget {
	return &budget{events: newBucket(events), bytes: newBucket(bytes)}
}

// take takes so much of both, or returns how long to wait.
func (b *budget) take(now time.Time, events, bytes float64) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events.fill(now)
	b.bytes.fill(now)
	if wait = max(b.events.wait(events), b.bytes.wait(bytes)); wait > 0 {
		return wait
	}
	b.events.left -= events
	b.bytes.left -= bytes
	return 0
}

// bucket holds a second's worth. Less than nothing is left after a batch that was larger.
type bucket struct {
	rate float64 // a second; 0: there is no limit
	left float64
	at   time.Time // of the last fill
}

func newBucket(rate int64) bucket { return bucket{rate: float64(rate), left: float64(rate)} }

// fill may be called with a time before the last: who asks reads the clock before it waits for the lock.
func (b *bucket) fill(now time.Time) {
	if b.at.IsZero() {
		b.at = now
	}
	if now.After(b.at) {
		b.left = min(b.rate, b.left+b.rate*now.Sub(b.at).Seconds())
		b.at = now
	}
}

// wait is how long it takes until there is enough for n, or all that there can be.
func (b *bucket) wait(n float64) time.Duration {
	lacks := min(n, b.rate) - b.left
	if b.rate == 0 || lacks <= 0 {
		return 0
	}
	return max(time.Millisecond, time.Duration(lacks/b.rate*float64(time.Second)).Round(time.Millisecond))
}
