package wal

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// producers holds the producers that number their batches. The committer's leader owns it, so it has no lock.
type producers struct {
	log     *Log
	all     map[producerKey]*producer
	pages   int64     // bytes that they take of the state
	opened  time.Time // when the log was opened
	checked time.Time // when idle producers were last looked for
}

func newProducers(l *Log) producers {
	now := time.Now()
	return producers{log: l, all: make(map[producerKey]*producer), opened: now, checked: now}
}

// recognise reports whether t repeats a stored batch, and at which offset that is.
func (ps *producers) recognise(t *Ticket) (at uint64, known bool, err error) {
	p := ps.all[t.producer]
	if p == nil {
		return 0, false, nil
	}
	p.heard = time.Now()
	at, known, err = p.check(t)
	p.MayLeap = p.MayLeap && !known // a producer that repeats a stored batch has sent nothing that the copy lacks
	return at, known, err
}

// mostRuns returns the most runs that the log keeps of the producer now. Once all producers together take their part of
// the state, that is no more than before.
func (ps *producers) mostRuns(p *producer) int {
	if ps.pages < ps.log.stateBudget.mostRuns() {
		return producerRuns
	}
	return max(len(p.Runs), 1)
}

// trimRuns drops runs until all producers take at most stateBudget.mostRuns bytes. They may take more after MaxSize was
// lowered, or in a log of an older release.
func (ps *producers) trimRuns() {
	for key, p := range ps.all {
		ps.resize(key, p)
	}
	for most := producerRuns / 2; most > 0 && ps.pages > ps.log.stateBudget.mostRuns(); most /= 2 {
		for key, p := range ps.all {
			p.keepRuns(most)
			ps.resize(key, p)
		}
	}
}

// resize updates the size of the producer's part of the state.
func (ps *producers) resize(key producerKey, p *producer) {
	pages := producerPages(key, p.Length())
	ps.addPages(pages - p.pages)
	p.pages = pages
}

func (ps *producers) addPages(n int64) {
	ps.pages += n
	ps.log.stateBudget.bytes.Add(n)
}

// evictIdle evicts the producers that have sent nothing for ProducerIdle. If there are too many producers, it also
// evicts those that have sent nothing for the longest time. It searches only once in a while.
func (ps *producers) evictIdle() {
	now := time.Now()
	if over := len(ps.all) >= 2*maxProducers; over || now.Sub(ps.checked) >= min(ps.log.opts.ProducerIdle/4, evictionDelay) {
		ps.checked = now
		ps.evictSilent(now)
		if over {
			ps.evictMost()
		}
	}
}

func (ps *producers) evictSilent(now time.Time) {
	idle, n := ps.log.opts.ProducerIdle, 0
	believed := ps.log.retention.clock.longer(min(idle, evenLongEnough))
	wall := ps.log.opts.Clock()
	for key, p := range ps.all {
		if p.silent(now, wall, ps.opened, believed) >= idle {
			ps.evict(key)
			n++
		}
	}
	if n > 0 {
		ps.log.opts.Logger.Info("idle producers evicted; a batch they resend is stored again", "producers", n, "producer_idle", idle)
	}
}

// silent returns for how long the producer has sent nothing. The time before the log was opened is measured by the
// agent's clock only, and counts only if that clock has run evenly for a while.
func (p *producer) silent(now, wall, opened time.Time, believed bool) time.Duration {
	if !p.heard.IsZero() {
		return now.Sub(p.heard)
	}
	silent := now.Sub(opened)
	if believed {
		silent = max(silent, wall.Sub(p.Seen))
	}
	return silent
}

func (ps *producers) evictMost() {
	if len(ps.all) <= maxProducers {
		return
	}
	keys := slices.SortedFunc(maps.Keys(ps.all), func(a, b producerKey) int {
		p, q := ps.all[a], ps.all[b]
		return cmp.Or(p.heard.Compare(q.heard), p.Seen.Compare(q.Seen))
	})
	keys = keys[:len(keys)-maxProducers]
	for _, key := range keys {
		ps.evict(key)
	}
	ps.log.opts.Logger.Warn("too many producers: the longest-silent are evicted; a batch they resend is stored again",
		"producers", len(keys), "remembered", maxProducers)
}

// evict removes a producer from memory, and from the disk with the next commit that has room for that.
func (ps *producers) evict(key producerKey) {
	pages := ps.all[key].pages
	ps.addPages(-pages)
	delete(ps.all, key)
	ps.log.deletions.add(deletedEntries{producers: []producerKey{key}, pages: pages})
}
