package wal

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// stream is what the log keeps in memory of one stream: nothing that grows with the backlog.
type stream struct {
	name string

	mu       sync.Mutex
	next     uint64 // the offset that the next event gets; all before it are committed
	bytes    uint64 // of the payloads of all events before next
	base     uint64 // how many events may have been lost before its first
	cursors  map[string]*Cursor
	floor    Floor // what lies below is to be dropped, also when no destination is known
	policy   Policy
	ages     ages
	reserved int64 // by appends under way, of the stream's share
	overhead overhead

	oldest atomic.Uint64 // no segment with a lower number holds any of it, nor ever will

	stored atomic.Bool // it has, or had, an event: it is part of the log's state and stays for ever; set under mu
	pins   int         // how many need it to stay although it is not stored; belongs to Log.mu

	awaited map[*awaited]struct{} // by WaitSettled

	grown   signal // woken when next has moved
	settled signal // woken when a place has moved
}

// newStream begins a stream of which base events may have been lost before.
func newStream(name string, base uint64) *stream {
	return &stream{name: name, next: base + 1, base: base, cursors: make(map[string]*Cursor)}
}

func (s *stream) appended() Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Count{s.next - 1, s.bytes}
}

// stream returns the stream of that name, making it when it is new.
func (l *Log) stream(name string) *stream {
	if s := l.lookup(name); s != nil {
		return s
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.streamLocked(name)
}

func (l *Log) streamLocked(name string) *stream {
	s := l.streams[name]
	if s == nil {
		s = newStream(strings.Clone(name), l.base)
		s.policy = l.retention.policyLocked(name)
		l.streams[s.name] = s
	}
	return s
}

// pin returns the stream of that name, making it when it is new, and keeps it until unpin.
func (l *Log) pin(name string) *stream {
	if s := l.lookup(name); s != nil && s.stored.Load() {
		return s
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streamLocked(name)
	s.pins++
	return s
}

// unpin ends pin. A stream that has stored nothing leaves nothing behind.
func (l *Log) unpin(s *stream) {
	if s.stored.Load() {
		return
	}
	l.mu.Lock()
	s.pins--
	l.mu.Unlock()
	l.dropUnused(s)
}

// dropUnused removes the stream unless it has stored an event, has a place, or is in use.
func (l *Log) dropUnused(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored.Load() || s.pins > 0 || len(s.cursors) > 0 || l.streams[s.name] != s {
		return
	}
	delete(l.streams, s.name)
	s.grown.wake() // waiting readers look at the log again
	s.settled.wake()
}

// grow returns the bytes that there were before.
func (l *Log) grow(s *stream, next, bytes uint64) (before uint64) {
	s.mu.Lock()
	before = s.bytes
	s.next, s.bytes = next, bytes
	l.stateBudget.countStreamLocked(s)
	s.mu.Unlock()
	s.grown.wake()
	return before
}

// sortedCursors returns the stream's places by name.
func (s *stream) sortedCursors() []*Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	places := make([]*Cursor, 0, len(s.cursors))
	for _, p := range s.cursors {
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b *Cursor) int { return strings.Compare(a.name, b.name) })
	return places
}

// signal wakes whoever waits at the moment it is woken.
type signal struct {
	mu sync.Mutex
	ch chan struct{} // closed by wake; nil while nobody waits
}

// wait returns a channel that the next wake closes. Look at the state after the call, not before.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// Flow returns the bytes of all payloads that have been appended since Open, to any stream.
func (l *Log) Flow() uint64 { return l.flow.Load() }

// Appended returns what has been appended to the stream so far.
func (l *Log) Appended(streamName string) Count {
	if s := l.lookup(streamName); s != nil {
		return s.appended()
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return Count{Events: l.base}
}
