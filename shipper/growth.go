package shipper

import (
	"slices"
	"time"
)

const (
	// maxSeen bounds the looks at a growing log whose times are kept. Beyond it, two share the time of the first.
	maxSeen = 32
	// directLooks is the number of looks that follow an append at once. The later ones are a pause apart.
	directLooks = 12
)

// growth is the part of the log behind the last read, which met the log's end. Its events wait to be batched anyway, so
// they stay in the log until their batch is due, or until they may be enough for one that is not: then one read takes all of
// them.
type growth struct {
	end    uint64    // where the last read met the log's end; 0: it did not
	bytes  uint64    // of the payloads of all events before end, or less
	seen   []arrival // at each look: the end of the log, and the time at which its last events came
	looked time.Time // the last look
	again  time.Time // no look before
	due    time.Time // no read before, unless there is enough
	fresh  bool      // the first events have come since takeFresh
}

// met notes that a read met the log's end there. bytes were appended before the read.
func (g *growth) met(end, bytes uint64, now time.Time) {
	*g = growth{end: end, bytes: bytes, seen: g.seen[:0], looked: now}
}

// look notes the log's end. heard reports whether the look follows the first of the new events at once. Else they may have
// come at any time since the last look.
func (g *growth) look(now time.Time, end uint64, heard bool, pause time.Duration) {
	at := g.looked
	if heard {
		at = now
	}
	g.looked = now
	n := len(g.seen)
	if n > 0 && g.seen[n-1].offset >= end {
		return
	}
	if n == maxSeen {
		n /= 2
		for i := range n {
			g.seen[i] = arrival{g.seen[2*i+1].offset, g.seen[2*i].at}
		}
		g.seen = g.seen[:n]
	}
	g.fresh = g.fresh || n == 0
	g.seen = append(g.seen, arrival{end, at})
	if n >= directLooks {
		g.again = now.Add(pause)
	}
}

// since returns when an event came to wait; latest if no look found it.
func (g *growth) since(offset uint64, latest time.Time) time.Time {
	for i := range g.seen {
		if offset < g.seen[i].offset {
			return g.seen[i].at
		}
	}
	return latest
}

// takeFresh reports, once, that events have come after the log's end was met.
func (g *growth) takeFresh() bool {
	fresh := g.fresh
	g.fresh = false
	return fresh
}

// wait returns the time for which the new events stay in the log. If they do not, their read may have to wait for memory, so
// the next append or raised floor is noticed at once.
func (f *feed) wait(now time.Time, d demand) time.Duration {
	g, end := &f.growth, f.source.Next(f.stream)
	if d.finishing || d.retrying || end <= g.end || f.behind() {
		g.again = time.Time{}
		return 0
	}
	g.look(now, end, f.heard, f.pause)
	g.due = g.seen[0].at.Add(f.maxDelay)
	// Events that were read before go out at once when they are due. The others have to be there by then.
	if oldest := f.lanes.oldest(now); !oldest.IsZero() {
		g.due = earlier(g.due, oldest.Add(f.maxDelay-f.pause/8))
	}
	if !f.waits(now, d.enough) {
		g.again = time.Time{}
		return 0
	}
	if g.again.After(now) {
		return earlier(g.due, g.again).Sub(now)
	}
	return g.due.Sub(now)
}

// behind reports whether a lane has to be read from before the place where the log's end was met.
func (f *feed) behind() bool {
	return f.growth.end == 0 || slices.ContainsFunc(f.lanes.all, func(l *lane) bool { return l.unread(f.growth.end) })
}

// waits reports whether the new events, with those that were read, are neither due nor enough for a batch.
func (f *feed) waits(now time.Time, enough int) bool {
	unread := f.source.Appended(f.stream).Bytes - f.growth.bytes
	return now.Before(f.growth.due) && unread < uint64(max(enough-f.lanes.held, 0))
}

// goesOn reports, after more events have come, that all of them stay in the log, and that nothing else has changed since
// wait.
func (f *feed) goesOn(now time.Time, enough int) bool {
	g := &f.growth
	if f.reading || len(g.seen) == 0 || now.Before(f.readAt) {
		return false
	}
	g.look(now, f.source.Next(f.stream), f.heard, f.pause)
	return !g.again.After(now) && f.waits(now, enough)
}

// oldest returns when the first event of those that may go came to wait; zero: none may.
func (s *lanes) oldest(now time.Time) (oldest time.Time) {
	if s.held == 0 {
		return oldest
	}
	for _, l := range s.all {
		if !l.ready(now) {
			continue
		}
		if since := l.since(); oldest.IsZero() || since.Before(oldest) {
			oldest = since
		}
	}
	return oldest
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
