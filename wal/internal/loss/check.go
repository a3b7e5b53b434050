package loss

import (
	"slices"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/cursor"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Held are the events that the owner of a cursor has read from the log, and has not settled. A nil Held holds nothing.
type Held struct {
	Next  [segment.Lanes]uint64 // the owner holds all unsettled events of the lane below it; 0: none
	Count segment.Count
	// Delivered: the destination has all events before this offset, so unreadable ones among them count as delivered.
	Delivered uint64
}

// Settles returns the progress of the lanes once the held events are settled.
func (h *Held) Settles(lanes [segment.Lanes]segment.Progress) [segment.Lanes]segment.Progress {
	for i := range lanes {
		if h != nil {
			lanes[i] = segment.Progress{Checkpoint: h.Next[i]}.With(lanes[i])
		}
	}
	return lanes
}

// Check is the search for the lost events of a cursor: those that are not settled, not held by the cursor's owner, and
// not in the log.
type Check struct {
	Search
	Owned   *Held           // nil: the cursor has no owner, or the owner reads none of the runs that are lost
	Parking segment.Parking // of a parked cursor

	before  [segment.Lanes]segment.Progress // of the cursor, without the held events
	corrupt segment.Count                   // of the settled events: dropped as corrupt
}

// NewCheck notes the progress of a cursor of the stream. Events in owned count as settled.
func NewCheck(stream string, at *cursor.Position, owned *Held) Check {
	c := Check{
		Search: Search{Stream: stream, Settled: at.Ledger.Settled()}, Owned: owned, Parking: at.Parking,
		before: at.CloneLanes(), corrupt: at.Ledger.Dropped[bounds.DroppedCorrupt],
	}
	c.Lanes = owned.Settles(c.before)
	if owned != nil {
		c.Settled.Add(owned.Count)
	}
	c.Needed = segment.Run{First: c.Lanes[0].Checkpoint, Next: segment.NoEnd}
	for i := range c.Lanes {
		c.Needed.First = min(c.Needed.First, c.Lanes[i].Checkpoint)
	}
	if c.Parking.Next > 0 {
		c.Needed.Next = c.Parking.Next
	}
	return c
}

// Holds reports whether the result of Find applies to the cursor, which is at that position by now. shipped: it has an owner.
func (c *Check) Holds(at *cursor.Position, shipped bool) bool {
	if at.Ledger.Dropped[bounds.DroppedCorrupt] != c.corrupt { // other losses were counted since
		return false
	}
	if c.Owned != nil || len(c.Unreadable) == 0 {
		return true
	}
	return !shipped && slices.EqualFunc(at.Lanes[:], c.before[:], segment.Progress.Equal) // an owner may hold events of these runs
}

// Settling returns the progress that notes the runs with lost events as settled, except for held events.
func (c *Check) Settling() map[uint8]segment.Progress {
	runs, notes := c.Runs(), make(map[uint8]segment.Progress, segment.Lanes)
	for lane := range uint8(segment.Lanes) {
		from := uint64(0)
		if c.Owned != nil {
			from = c.Owned.Next[lane]
		}
		notes[lane] = segment.Progress{Settled: cursor.RunsFrom(runs, from)}
	}
	return notes
}
