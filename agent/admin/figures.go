package admin

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
)

// Age formats a duration in its two largest units: 0.4s, 12s, 3m 12s, 2h 5m, 3d 4h.
func Age(d time.Duration) string {
	d = max(d, 0)
	minutes, hours := int(d.Minutes()), int(d.Hours())
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", minutes, int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh %dm", hours, minutes%60)
	}
	return fmt.Sprintf("%dd %dh", hours/24, hours%24)
}

// Oldest returns the age of the oldest pending event.
func (p Pending) Oldest() time.Duration {
	return time.Duration(p.OldestSeconds * float64(time.Second))
}

// Percent returns the used part of the WAL's limit, 0 to 100.
func (w WALStatus) Percent() int {
	if w.MaxBytes <= 0 {
		return 0
	}
	return int(min(max(float64(w.Bytes)/float64(w.MaxBytes), 0), 1) * 100)
}

func bytesText(n uint64) string { return humanize.IBytes(n) }

// countText formats n with commas between the thousands.
func countText(n uint64) string { return humanize.Comma(int64(n)) }

func eventsText(n uint64) string {
	if n == 1 {
		return "1 event"
	}
	return countText(n) + " events"
}

// NewestDelivered returns the age of the newest delivered event.
func (d *DestinationStatus) NewestDelivered() time.Duration {
	return time.Duration(d.NewestDeliveredSeconds * float64(time.Second))
}
