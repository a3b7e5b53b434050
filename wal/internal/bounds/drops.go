package bounds

import (
	"maps"
	"time"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// logDroppedEvery is the shortest time between two log lines about a cursor's drops.
const logDroppedEvery = time.Minute

// LoggedDrops has the drops of a cursor that were logged. The zero value belongs to a cursor that upkeep has not seen yet: an
// earlier run has logged its drops.
type LoggedDrops struct {
	known   bool
	at      time.Time
	dropped map[string]segment.Count
}

// Drop is a number of events that were dropped for one reason.
type Drop struct {
	Reason string
	Count  segment.Count
}

// News returns the drops of policies since the last line about the cursor, if a line is due. They count as logged then.
// dropped are all drops of the cursor.
func (d *LoggedDrops) News(now time.Time, dropped map[string]segment.Count) (news []Drop) {
	if !d.known {
		*d = LoggedDrops{known: true, dropped: dropped}
		return nil
	}
	if now.Sub(d.at) < logDroppedEvery || maps.Equal(dropped, d.dropped) {
		return nil
	}
	for _, reason := range []string{DroppedAge, DroppedFull} {
		if c := dropped[reason].Sub(d.dropped[reason]); c.Events > 0 {
			news = append(news, Drop{reason, c})
		}
	}
	*d = LoggedDrops{true, now, dropped}
	return news
}
