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
		l.truncator.Trim()
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

// logDropped logs the events that policies dropped since the last line about the cursor.
func (r *retention) logDropped(now time.Time) {
	for _, p := range r.log.streams.cursors() {
		p.mu.Lock()
		dropped := maps.Clone(p.at.Ledger.Dropped)
		p.mu.Unlock()
		for _, d := range p.drops.News(now, dropped) {
			r.log.opts.Logger.Warn("events were dropped", "reason", d.Reason, "stream", p.stream.name, "destination", p.name,
				"events", d.Count.Events, "bytes", d.Count.Bytes)
		}
	}
}
