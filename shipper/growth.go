package shipper

import (
	"slices"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/arrival"
)

// growth is the part of the log behind the last read, which met the log's end. Its events wait to be batched anyway, so
// they stay in the log until their batch is due, or until they may be enough for one that is not: then one read takes all of
// them.
type growth struct {
	arrival.Tail
	due time.Time // no read before, unless there is enough
}

// wait returns the time for which the new events stay in the log. If they do not, their read may have to wait for memory, so
// the next append or raised floor is noticed at once.
func (f *feed) wait(now time.Time, d demand) time.Duration {
	g, end := &f.growth, f.source.Next(f.stream)
	if d.finishing || d.retrying || end <= g.End || f.behind() {
		g.Again = time.Time{}
		return 0
	}
	g.Look(now, end, f.heard, f.pause)
	first, _ := g.First()
	g.due = first.Add(f.maxDelay)
	// Events that were read before go out at once when they are due. The others have to be there by then.
	if oldest := f.lanes.oldest(now); !oldest.IsZero() {
		g.due = earlier(g.due, oldest.Add(f.maxDelay-f.pause/8))
	}
	if !f.waits(now, d.enough) {
		g.Again = time.Time{}
		return 0
	}
	if g.Again.After(now) {
		return earlier(g.due, g.Again).Sub(now)
	}
	return g.due.Sub(now)
}

// behind reports whether a lane has to be read from before the place where the log's end was met.
func (f *feed) behind() bool {
	return f.growth.End == 0 || slices.ContainsFunc(f.lanes.all, func(l *lane) bool { return l.unread(f.growth.End) })
}

// waits reports whether the new events, with those that were read, are neither due nor enough for a batch.
func (f *feed) waits(now time.Time, enough int) bool {
	unread := f.source.Appended(f.stream).Bytes - f.growth.Bytes
	return now.Before(f.growth.due) && unread < uint64(max(enough-f.lanes.held, 0))
}

// goesOn reports, after more events have come, that all of them stay in the log, and that nothing else has changed since
// wait.
func (f *feed) goesOn(now time.Time, enough int) bool {
	g := &f.growth
	if _, ok := g.First(); !ok || f.reading || now.Before(f.readAt) {
		return false
	}
	g.Look(now, f.source.Next(f.stream), f.heard, f.pause)
	return !g.Again.After(now) && f.waits(now, enough)
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
