package limit

import "time"

// Bucket is a token bucket. Its level may fall below zero: tokens that are owed. The zero value has no limit.
type Bucket struct {
	rate  float64 // tokens a second; 0: no limit
	burst float64 // the highest level that Fill reaches
	level float64
	at    time.Time // of the last Fill
}

// NewBucket returns a full bucket.
func NewBucket(rate, burst float64, now time.Time) Bucket {
	return Bucket{rate: rate, burst: burst, level: burst, at: now}
}

// Set changes the rate and the burst from the last Fill on. The level falls to the new burst if it is above.
func (b *Bucket) Set(rate, burst float64) {
	b.rate, b.burst = rate, burst
	b.level = min(b.level, burst)
}

// Fill adds the tokens of the time since the last Fill. A time before that adds none: a caller may read the clock before
// it gets the lock.
func (b *Bucket) Fill(now time.Time) {
	if dt := now.Sub(b.at); dt > 0 {
		b.level = max(b.level, min(b.level+dt.Seconds()*b.rate, b.burst))
		b.at = now
	}
}

// Cap lowers a level above the burst to the burst.
func (b *Bucket) Cap() { b.level = min(b.level, b.burst) }

// Take removes n tokens; negative: it returns them. The level may fall below zero, or rise above the burst.
func (b *Bucket) Take(n float64) { b.level -= n }

// Reset makes the level n.
func (b *Bucket) Reset(n float64) { b.level = n }

// Level returns the number of tokens at the last Fill.
func (b *Bucket) Level() float64 { return b.level }

// Rate returns the tokens a second; 0: no limit.
func (b *Bucket) Rate() float64 { return b.rate }

// Until returns the seconds from the last Fill until the level is n; 0: it is, or there is no limit.
func (b *Bucket) Until(n float64) float64 {
	if b.rate == 0 || b.level >= n {
		return 0
	}
	return (n - b.level) / b.rate
}
