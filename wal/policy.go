package wal

import (
	"cmp"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/queue"
)

// Policy bounds one stream. The zero value keeps events until they are settled, and lets the stream fill the whole log.
type Policy = bounds.Policy

// Floor is the offset below which a destination must drop its unsettled events.
type Floor = bounds.Floor

// retention applies the streams' policies: it drops events that are too old or that make room, and reserves a batch's
// bytes in its stream's budget before the batch is submitted.
type retention struct {
	log *Log

	policyOf      func(stream string) Policy // guarded by streamTable.mu
	policyChanged chan struct{}              // holds one: SetPolicy was called
	clock         *bounds.Clock
	parkedBehind  chan struct{} // holds one: parked cursors may be behind their floors
	parkedDone    chan struct{} // closed by runParked
}

func newRetention(l *Log) retention {
	return retention{
		log: l, policyChanged: make(chan struct{}, 1), clock: bounds.NewClock(l.opts.Clock),
		parkedBehind: make(chan struct{}, 1), parkedDone: make(chan struct{}),
	}
}

// SetPolicy applies the policy that of returns for a stream: to the present streams now, and to a new stream when it is
// created. Events that are too old by the new policy are dropped soon. Appends that have room by the new policy
// continue.
func (l *Log) SetPolicy(of func(stream string) Policy) {
	l.streams.mu.Lock()
	l.retention.policyOf = of
	for _, s := range l.streams.all {
		s.setPolicy(of(s.name))
	}
	l.streams.mu.Unlock()
	for _, s := range l.streams.sorted() {
		s.settled.Wake()
	}
	queue.Poke(l.retention.policyChanged)
}

func (s *stream) setPolicy(p Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = p
}

// onFull returns the handling of an append that exceeds the stream's budget.
func (r *retention) onFull(p Policy) OnFull { return cmp.Or(p.OnFull, r.log.whenFull()) }

// policy returns the stream's policy.
func (r *retention) policy(stream string) Policy {
	r.log.streams.mu.RLock()
	defer r.log.streams.mu.RUnlock()
	return r.policyLocked(stream)
}

// policyLocked is policy with streamTable.mu held.
func (r *retention) policyLocked(stream string) Policy {
	if r.policyOf == nil {
		return Policy{}
	}
	return r.policyOf(stream)
}
