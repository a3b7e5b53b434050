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

// SetPolicy gives each stream, also one that is new later, the policy that of says. An event
// that it makes too old is dropped soon, and an append that it gives room to goes on.
func (l *Log) SetPolicy(of func(stream string) Policy) {
	l.mu.Lock()
	l.policyOf = of
	for _, s := range l.streams {
		s.setPolicy(of(s.name))
	}
	l.mu.Unlock()
	for _, s := range l.sortedStreams() {
		s.settled.wake()
	}
	poke(l.policyNews)
}

func (s *stream) setPolicy(p Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = p
}

// onFull returns what an append to the stream meets when its own share is full.
func (l *Log) onFull(p Policy) OnFull { return cmp.Or(p.OnFull, l.opts.OnFull) }

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
