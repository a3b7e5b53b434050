// Package retain decides which settled segments stay for replay, and for how long.
//
// # Contract
//
// A settled segment stays for the period that SetPeriod sets, counted from its seal. It goes earlier, the oldest first, when
// its bytes are wanted: under MaxSize, on the volume, or by Demand. Retained bytes count as free everywhere, see
// capacity.Capacity: no append, checkpoint, dead letter or compaction is worse off than in a log that retains nothing.
//
// A period does not bound the bytes, and MaxSize does not promise a period: a busy log retains less than the period.
package retain

import (
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/liveset"
)

// Keeper has the period. Any goroutine may call its methods.
type Keeper struct {
	segments *liveset.Set
	capacity *capacity.Capacity
	period   atomic.Int64
	demand   atomic.Int64 // bytes, see Demand
}

// New returns a Keeper that retains nothing.
func New(segments *liveset.Set, space *capacity.Capacity) *Keeper {
	return &Keeper{segments: segments, capacity: space}
}

// SetPeriod sets how long settled segments stay; 0: not at all.
func (k *Keeper) SetPeriod(d time.Duration) { k.period.Store(int64(d)) }

// Keeps reports whether the sealed segment would be retained if it were settled.
func (k *Keeper) Keeps(seg *liveset.Segment) bool {
	return time.Since(seg.SealedAt()) < time.Duration(k.period.Load())
}

// Spares reports whether the segment stays as it is, so that its settled events can be replayed too, while the log is less
// than half full. Else it may be compacted.
func (k *Keeper) Spares(seg *liveset.Segment) bool {
	return k.Keeps(seg) && !k.capacity.Short() && k.capacity.Used(k.segments.Use()) < k.capacity.Max()/2
}

// Demand makes the next Surplus return the oldest retained segments of at least that many bytes. Demands before it add up.
func (k *Keeper) Demand(bytes int64) { k.demand.Add(bytes) }

// Surplus removes from the set the retained segments that are to be unlinked now: those whose period is over, and those
// whose bytes are wanted.
func (k *Keeper) Surplus() []*liveset.Segment {
	demanded := k.demand.Swap(0)
	if k.segments.Use().Retained == 0 {
		return nil
	}
	wanted := max(demanded, k.capacity.Retained.Over(k.capacity.Retained.Headroom()))
	return k.segments.Release(wanted, func(seg *liveset.Segment) bool { return !k.Keeps(seg) })
}
