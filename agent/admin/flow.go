package admin

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
)

// Flow is the traffic of several streams together.
type Flow struct {
	In, Out Rate
	// Pending counts an event once at each destination, and Oldest is the age of the oldest.
	Pending Volume
	Oldest  time.Duration
	// Destinations have pending events.
	Destinations int
}

// Sum returns the flow of streams.
func Sum(streams []StreamStatus) (f Flow) {
	for i := range streams {
		f.In.add(streams[i].AppendRate)
		for j := range streams[i].Destinations {
			d := &streams[i].Destinations[j]
			f.Out.add(d.Rate)
			f.Pending.Events += d.Pending.Events
			f.Pending.Bytes += d.Pending.Bytes
			f.Oldest = max(f.Oldest, d.Pending.Oldest())
			if d.Pending.Events > 0 {
				f.Destinations++
			}
		}
	}
	return f
}

func (r *Rate) add(other Rate) {
	r.Events += other.Events
	r.Bytes += other.Bytes
}

// String formats a rate: 12.3 events/s (1.2 MiB/s).
func (r Rate) String() string {
	if r.Events <= 0 {
		return "0 events/s"
	}
	return fmt.Sprintf("%s events/s (%s/s)", r.Count(), bytesText(uint64(max(r.Bytes, 0))))
}

// Count formats the events of a rate without their unit: 0, 0.1, 12.3, 1,234.
func (r Rate) Count() string {
	if digits := 1; r.Events < 100 && r.Events > 0 {
		return humanize.FtoaWithDigits(r.Events, digits)
	}
	return countText(uint64(max(r.Events, 0) + 0.5))
}

// String formats the flow as one line.
func (f Flow) String() string {
	return fmt.Sprintf("in %s, out %s; %s", f.In, f.Out, f.PendingText())
}

// PendingText says how many events are pending, and where.
func (f Flow) PendingText() string {
	switch f.Destinations {
	case 0:
		return "nothing pending"
	case 1:
		return fmt.Sprintf("%s pending (%s), the oldest for %s", eventsText(f.Pending.Events), bytesText(f.Pending.Bytes), Age(f.Oldest))
	}
	return fmt.Sprintf("%s pending (%s) at %d destinations, the oldest for %s", eventsText(f.Pending.Events), bytesText(f.Pending.Bytes), f.Destinations, Age(f.Oldest))
}
