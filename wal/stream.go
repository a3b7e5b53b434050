package wal

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/cursor"
	"github.com/standpipe/standpipe/wal/internal/queue"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// stream holds the state of one stream in memory. Its size does not grow with the backlog.
type stream struct {
	name  string
	table *streamTable

	mu       sync.Mutex
	next     uint64 // the offset that the next event gets; all before it are committed
	bytes    uint64 // of the payloads of all events before next
	base     uint64 // the number of its offsets that lost events may have had, as far as this run skipped them
	cursors  map[string]*Cursor
	floor    Floor // events below it are dropped, also without a destination
	policy   Policy
	ages     bounds.Ages
	reserved int64 // bytes of the stream's budget, by appends under way
	overhead bounds.Overhead

	stored atomic.Bool // it has, or had, an event, and is part of the log's state for ever; set under mu
	pins   int         // callers that need it although it is not stored; guarded by streamTable.mu

	awaited map[*cursor.Await]struct{} // by WaitSettled

	grown   queue.Signal // woken when next has moved
	settled queue.Signal // woken when a cursor has moved
}

// streamTable holds the streams of the log: those with events, those with a cursor, and those that are pinned.
type streamTable struct {
	log *Log

	mu   sync.RWMutex
	all  map[string]*stream
	base uint64       // new streams begin after this offset; see skipLost
	born queue.Signal // woken by the first event of a stream

	dirty queue.Pending[*Cursor] // the cursors that moved since they were last written; its mutex is acquired after theirs
	flow  atomic.Uint64          // bytes of the payloads appended since Open
}

// newStream makes a stream. base events may have been lost before its first.
func newStream(name string, base uint64) *stream {
	return &stream{name: name, next: base + 1, base: base, cursors: make(map[string]*Cursor)}
}

func (s *stream) appended() Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.appendedLocked()
}

func (s *stream) appendedLocked() Count { return Count{Events: s.next - 1, Bytes: s.bytes} }

// get returns the stream of that name, and makes it if it is new.
func (t *streamTable) get(name string) *stream {
	if s := t.lookup(name); s != nil {
		return s
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.getLocked(name)
}

func (t *streamTable) getLocked(name string) *stream {
	s := t.all[name]
	if s == nil {
		s = newStream(strings.Clone(name), t.base)
		s.table = t
		s.policy = t.log.retention.policyLocked(name)
		t.all[s.name] = s
	}
	return s
}

// pin returns the stream of that name, makes it if it is new, and keeps it until unpin.
func (t *streamTable) pin(name string) *stream {
	if s := t.lookup(name); s != nil && s.stored.Load() {
		return s
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.getLocked(name)
	s.pins++
	return s
}

// unpin ends pin. A stream that has stored no event is dropped.
func (t *streamTable) unpin(s *stream) {
	if s.stored.Load() {
		return
	}
	t.mu.Lock()
	s.pins--
	t.mu.Unlock()
	t.dropUnused(s)
}

// dropUnused drops the stream unless it has stored an event, has a cursor, or is pinned.
func (t *streamTable) dropUnused(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored.Load() || s.pins > 0 || len(s.cursors) > 0 || t.all[s.name] != s {
		return
	}
	delete(t.all, s.name)
	s.grown.Wake() // waiting readers look at the log again
	s.settled.Wake()
}

// needsAfterCrash reports whether some destination would need events of the stream's run after a crash. A stream without
// a destination keeps all events at or above its floor.
func (t *streamTable) needsAfterCrash(stream string, run Run) bool {
	s := t.lookup(stream)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.cursors {
		p.mu.Lock()
		needed := p.at.SyncedNeed.Meets(run)
		p.mu.Unlock()
		if needed {
			return true
		}
	}
	return len(s.cursors) == 0 && s.floor.Offset() < run.Next
}

// low returns the first offset that some destination would need after a crash.
func (s *stream) low() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	low := s.next
	if len(s.cursors) == 0 {
		low = s.floor.Offset()
	}
	for _, p := range s.cursors {
		p.mu.Lock()
		low = min(low, p.at.SyncedNeed.First)
		p.mu.Unlock()
	}
	return low
}

// sortedCursors returns the stream's cursors by name.
func (s *stream) sortedCursors() []*Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	cursors := make([]*Cursor, 0, len(s.cursors))
	for _, p := range s.cursors {
		cursors = append(cursors, p)
	}
	slices.SortFunc(cursors, func(a, b *Cursor) int { return strings.Compare(a.name, b.name) })
	return cursors
}

// Flow returns the bytes of all payloads that have been appended since Open, to any stream.
func (l *Log) Flow() uint64 { return l.streams.flow.Load() }

// Appended returns the count of the events that were ever appended to the stream.
func (l *Log) Appended(streamName string) Count {
	if s := l.streams.lookup(streamName); s != nil {
		return s.appended()
	}
	l.streams.mu.RLock()
	defer l.streams.mu.RUnlock()
	return Count{Events: l.streams.base}
}

func (t *streamTable) lookup(name string) *stream {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.all[name]
}

func (t *streamTable) sorted() []*stream {
	t.mu.RLock()
	all := slices.Collect(maps.Values(t.all))
	t.mu.RUnlock()
	slices.SortFunc(all, func(a, b *stream) int { return strings.Compare(a.name, b.name) })
	return all
}

func (t *streamTable) cursors() []*Cursor {
	var all []*Cursor
	for _, s := range t.sorted() {
		all = append(all, s.sortedCursors()...)
	}
	return all
}

// events returns the number of offsets that were assigned in all streams.
func (t *streamTable) events() (n uint64) {
	for _, s := range t.sorted() {
		n += s.appended().Events
	}
	return n
}

// StreamStat is a stream at one instant.
type StreamStat = segment.StreamStat

// Streams returns all streams, by name.
func (l *Log) Streams() []StreamStat {
	var stats []StreamStat
	for _, s := range l.streams.sorted() {
		if !s.stored.Load() && len(s.sortedCursors()) == 0 {
			continue // an append is under way
		}
		a := s.appended()
		st := StreamStat{Name: s.name, Next: a.Events + 1, First: a.Events + 1, Appended: a}
		if seg, sp := l.segments.Find(s.name, 0); seg != nil {
			st.First = sp.First
		}
		stats = append(stats, st)
	}
	return stats
}

// Grown returns a channel that is closed when the stream gets new events after this call.
func (l *Log) Grown(streamName string) <-chan struct{} {
	for {
		s, wait := l.streams.lookup(streamName), &l.streams.born
		if s != nil {
			wait = &s.grown
		}
		grown := wait.Wait()
		if l.streams.lookup(streamName) == s { // else it has begun, or was dropped, before the wait
			return grown
		}
	}
}

// Next returns the offset that the stream's next event gets.
func (l *Log) Next(streamName string) uint64 { return l.Appended(streamName).Events + 1 }
