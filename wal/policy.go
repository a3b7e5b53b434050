package wal

import (
	"cmp"
	"time"
)

// Policy is what an operator wants of one stream. The zero value keeps its events for as long as it
// takes, in the room that the whole log has.
type Policy struct {
	MaxAge  time.Duration // what is older is dropped (reason age); 0: nothing is
	MaxSize int64         // bytes that it may hold, see Log.Share; 0: no limit of its own
	OnFull  OnFull        // what an append meets then; default the log's
}

// retention applies the streams' policies: it drops events that are too old or that make room, and reserves a batch's bytes
// in its stream's budget before the batch is submitted.
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

// SetPolicy gives each stream, also one that is new later, the policy that of says. An event
// that it makes too old is dropped soon, and an append that it gives room to goes on.
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

// onFull returns what an append to the stream meets when its own share is full.
func (r *retention) onFull(p Policy) OnFull { return cmp.Or(p.OnFull, r.log.opts.OnFull) }

// Floor tells a destination to drop what it has not settled below it.
type Floor struct {
	Age  uint64 // what lies below is too old
	Full uint64 // what lies below makes room
}

// Offset returns the offset below which everything is to be dropped; 0: nothing.
func (f Floor) Offset() uint64 { return max(f.Age, f.Full) }

// Reason returns why the event at an offset below the floor is dropped.
func (f Floor) Reason(offset uint64) string {
	if offset < f.Age {
		return DroppedAge
	}
	return DroppedFull
}

// raised returns the higher of both.
func (f Floor) raised(g Floor) Floor { return Floor{max(f.Age, g.Age), max(f.Full, g.Full)} }

// policyLocked is called with Log.mu held.
func (r *retention) policyLocked(stream string) Policy {
	if r.policyOf == nil {
		return Policy{}
	}
	return r.policyOf(stream)
}
