package wal

import (
	"maps"
	"time"

	"github.com/standpipe/standpipe/wal/internal/bounds"
)

const (
	// upkeepMost and upkeepLeast bound the interval between two looks at the streams' ages. It follows from the
	// shortest MaxAge.
	upkeepMost  = 10 * time.Second
	upkeepLeast = 10 * time.Millisecond
	// noteEvery is the shortest time between two notes of the number of events.
	noteEvery = time.Second
	// logDroppedEvery is the shortest time between two log lines about a cursor's drops.
	logDroppedEvery = time.Minute
)

// upkeep does the periodic work until the log closes: it drops events that are too old, logs drops, and starts
// compactions.
func (l *Log) upkeep() {
	defer close(l.upkept)
	noted := time.Now()
	for {
		now := time.Now()
		if now.Sub(noted) >= noteEvery {
			noted = now
			l.identity.NoteEvents(l.dir, l.streams.events())
		}
		every := l.retention.dropAllAged(now)
		l.retention.logDropped(now)
		l.capacity.EndStateFull(now)
		l.compactor.Start()
		l.truncator.RetryFailed() // no checkpoint may be due
		select {
		case <-time.After(max(every, upkeepLeast)):
		case <-l.retention.policyChanged:
		case <-l.closing:
			return
		}
	}
}

// dropAllAged drops the events of all streams that are too old, and returns when to look again.
func (r *retention) dropAllAged(now time.Time) (again time.Duration) {
	r.clock.Look(now)
	again = upkeepMost
	for _, s := range r.log.streams.sorted() {
		if r.log.usable() == nil {
			r.dropAged(s, now)
		}
		again = min(again, s.ageStep())
	}
	return again
}

func (s *stream) ageStep() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.policy.MaxAge == 0 {
		return upkeepMost
	}
	return bounds.Step(s.policy.MaxAge)
}

// loggedDrops has the drops of a cursor that were logged.
type loggedDrops struct {
	known   bool // false: the cursor is new
	at      time.Time
	dropped map[string]Count
}

// logDropped logs the events that policies dropped since the last line about the cursor.
func (r *retention) logDropped(now time.Time) {
	for _, p := range r.log.streams.cursors() {
		p.mu.Lock()
		dropped := maps.Clone(p.at.Ledger.Dropped)
		p.mu.Unlock()
		before := &p.drops
		if !before.known { // an earlier run has logged these
			*before = loggedDrops{known: true, dropped: dropped}
			continue
		}
		if now.Sub(before.at) < logDroppedEvery || maps.Equal(dropped, before.dropped) {
			continue
		}
		for _, reason := range []string{DroppedAge, DroppedFull} {
			if news := dropped[reason].Sub(before.dropped[reason]); news.Events > 0 {
				r.log.opts.Logger.Warn("events were dropped", "reason", reason, "stream", p.stream.name, "destination", p.name,
					"events", news.Events, "bytes", news.Bytes)
			}
		}
		*before = loggedDrops{true, now, dropped}
	}
}
