package wal

import (
	"cmp"
	"time"
)

// Policy bounds one stream. The zero value keeps events until they are settled, and lets the stream fill the whole log.
type Policy struct {
	MaxAge  time.Duration // older events are dropped (reason age); 0: none are
	MaxSize int64         // bytes that the stream may hold, see Log.Share; 0: no limit of its own
	OnFull  OnFull        // for an append beyond MaxSize; default the log's
}

// retention applies the streams' policies: it drops events that are too old or that make room, and reserves a batch's
// bytes in its stream's budget before the batch is submitted.
type retention struct {
	log *Log

	policyOf      func(stream string) Policy // guarded by Log.mu
	policyChanged chan struct{}              // holds one: SetPolicy was called
	clock         *evenClock
	parkedBehind  chan struct{} // holds one: parked cursors may be behind their floors
	parkedDone    chan struct{} // closed by runParked
}

func newRetention(l *Log) retention {
	return retention{
		log: l, policyChanged: make(chan struct{}, 1), clock: newEvenClock(l.opts.Clock),
		parkedBehind: make(chan struct{}, 1), parkedDone: make(chan struct{}),
	}
}

// SetPolicy applies the policy that of returns for a stream: to the present streams now, and to a new stream when it is
// created. Events that are too old by the new policy are dropped soon. Appends that have room by the new policy
// continue.
func (l *Log) SetPolicy(of func(stream string) Policy) {
	l.mu.Lock()
	l.retention.policyOf = of
	for _, s := range l.streams.all {
		s.setPolicy(of(s.name))
	}
	l.mu.Unlock()
	for _, s := range l.streams.sorted() {
		s.settled.wake()
	}
	poke(l.retention.policyChanged)
}

func (s *stream) setPolicy(p Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = p
}

// onFull returns the handling of an append that exceeds the stream's budget.
func (r *retention) onFull(p Policy) OnFull { return cmp.Or(p.OnFull, r.log.opts.OnFull) }

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

// raised returns the higher floor of both.
func (f Floor) raised(g Floor) Floor { return Floor{max(f.Age, g.Age), max(f.Full, g.Full)} }

// policyLocked returns the stream's policy. It is called with Log.mu held.
func (r *retention) policyLocked(stream string) Policy {
	if r.policyOf == nil {
		return Policy{}
	}
	return r.policyOf(stream)
}
