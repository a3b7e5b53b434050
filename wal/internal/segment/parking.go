package segment

import (
	"math"
	"time"
)

// NoEnd is the end of the offsets that a destination needs, unless it is parked.
const NoEnd = math.MaxUint64

// Parking is the end of a parked cursor in its stream. A destination that has left the configuration keeps the events
// that it had, and gets no others. The zero value is that of a cursor that is not parked.
type Parking struct {
	Next      uint64    // the first offset that is not kept for the destination; 0: the cursor is not parked
	Bytes     uint64    // of the payloads of all events before Next
	At        time.Time // when the cursor was parked
	Forgotten bool      // an operator has dropped the events that it kept
}

// Kept returns the part of the stream's events, appended to it so far, that the destination was to get.
func (p Parking) Kept(appended Count) Count {
	if p.Next == 0 || appended.Events < p.Next {
		return appended
	}
	return Count{Events: p.Next - 1, Bytes: p.Bytes}
}

// Needed returns the range of the offsets that the destination may need. For a parked cursor without pending events it is
// empty.
func (c *CursorState) Needed() Run {
	switch {
	case c.Parking.Next == 0:
		return Run{First: c.Checkpoint(), Next: NoEnd}
	case c.Ledger.Settled().Events >= c.Parking.Next-1:
		return Run{First: NoEnd, Next: NoEnd}
	}
	return Run{First: c.Checkpoint(), Next: c.Parking.Next}
}

// Meets reports whether the runs have an offset in common.
func (r Run) Meets(o Run) bool { return r.First < o.Next && o.First < r.Next }
