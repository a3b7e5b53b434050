package shipper

import "time"

// While producers append, a backlog is read at most this fast and half as fast again as its own stream grows:
// it shrinks whatever they send, and leaves them the processors and the disk. Measured on 2 cores that
// all share, to a destination that takes everything at once: a backlog that was read as fast as it goes, at
// 220,000 to 260,000 events of 1 KiB a second, left 64 unary producers a third of their rate.
const (
	courteousRate  = 32 << 20 // bytes a second
	courteousBurst = 4 << 20
	// courteousGrowth is how many times as fast as its stream grows a backlog is read besides.
	courteousGrowth = 1.5
	// busyFor is how long after an append producers count as appending.
	busyFor = 100 * time.Millisecond
)

// courtesy is how much a shipper may read beside the producers.
type courtesy struct {
	at     time.Time // of the last look
	busy   time.Time // when an append was last seen
	all    uint64    // what all streams had by then
	own    uint64    // and the shipper's
	budget float64   // bytes
}

// look takes in what was appended since the last one: bytes of all streams, and of the own.
func (c *courtesy) look(now time.Time, all, own uint64) {
	if all != c.all {
		c.busy = now
	}
	fill := now.Sub(c.at).Seconds() * courteousRate
	c.budget = max(c.budget, min(c.budget+fill, courteousBurst)) + courteousGrowth*float64(own-c.own)
	if now.Sub(c.busy) >= busyFor {
		c.budget = courteousBurst
	}
	c.at, c.all, c.own = now, all, own
}

// wait returns how long to leave the log to the producers; 0: no longer.
func (c *courtesy) wait() time.Duration {
	if c.budget > 0 {
		return 0
	}
	return time.Duration((1 - c.budget) / courteousRate * float64(time.Second))
}

// courteous tells how long the next read has to wait for the producers' sake.
func (s *Shipper) courteous(now time.Time) time.Duration {
	if s.finishing {
		return 0
	}
	log := s.opts.Log
	s.courtesy.look(now, log.Flow(), log.Appended(s.stream).Bytes)
	return s.courtesy.wait()
}
