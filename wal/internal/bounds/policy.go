package bounds

import "time"

// Policy bounds one stream. The zero value keeps events until they are settled, and lets the stream fill the whole log.
type Policy struct {
	MaxAge  time.Duration // older events are dropped (reason age); 0: none are
	MaxSize int64         // bytes that the stream may hold, see HeldBytes; 0: no limit of its own
	OnFull  OnFull        // for an append beyond MaxSize; default the log's
}

// OnFull is the handling of an append when the log is full.
type OnFull string

// A full log rejects the append, lets it wait for free bytes, or drops the oldest events.
const (
	Reject     OnFull = "reject"
	Block      OnFull = "block"
	DropOldest OnFull = "drop_oldest"
)

// Reasons why events were dropped.
const (
	DroppedFull    = "full"    // the log was full under drop_oldest
	DroppedAge     = "age"     // older than max_age
	DroppedCorrupt = "corrupt" // their segment cannot be read
	DroppedAbsent  = "absent"  // unlinked before the destination was configured

	DroppedParked    = "parked"    // appended while the destination was not configured
	DroppedForgotten = "forgotten" // kept for a parked destination until an operator dropped them
)

// Floor is the offset below which a destination must drop its unsettled events.
type Floor struct {
	Age  uint64 // events below it are too old
	Full uint64 // events below it must make room
}

// Offset returns the offset below which all events are dropped; 0: none are.
func (f Floor) Offset() uint64 { return max(f.Age, f.Full) }

// Reason returns the reason of the drop at an offset below the floor.
func (f Floor) Reason(offset uint64) string {
	if offset < f.Age {
		return DroppedAge
	}
	return DroppedFull
}

// Raised returns the higher floor of both.
func (f Floor) Raised(g Floor) Floor { return Floor{max(f.Age, g.Age), max(f.Full, g.Full)} }
