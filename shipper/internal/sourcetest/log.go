// Package sourcetest has a log in memory with its cursors and dead letters, for tests of shippers that need no disk. It
// follows the contracts of shipper.Source, Cursor and DeadLetterQueue as the log does, and nothing in it fails, is dropped
// or gets lost. A cursor keeps its progress when its shipper ends. Only tests import it.
package sourcetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// Log is a log in memory.
type Log struct {
	mu      sync.Mutex
	streams map[string]*stream // guarded by mu
	flow    uint64             // guarded by mu
}

// stream is the part of a log that one stream has. Log.mu guards it.
type stream struct {
	first    uint64 // the offset of events[0]
	events   []wal.Event
	at       []time.Time // of their appends
	appended wal.Count
	grown    chan struct{}
	cursors  map[string]*Cursor
}

// New returns an empty log.
func New() *Log { return &Log{streams: make(map[string]*stream)} }

func (l *Log) streamLocked(name string) *stream {
	s := l.streams[name]
	if s == nil {
		s = &stream{first: 1, grown: make(chan struct{}), cursors: make(map[string]*Cursor)}
		l.streams[name] = s
	}
	return s
}

func (s *stream) next() uint64 { return s.first + uint64(len(s.events)) }

// Append appends the events of b. It keeps a reference to their payloads.
func (l *Log) Append(_ context.Context, b *wal.Batch) (wal.Appended, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streamLocked(b.Stream)
	a, now := wal.Appended{First: s.next(), Count: len(b.Events)}, time.Now()
	for _, e := range b.Events {
		e.Offset, e.Lane = s.next(), wal.LaneOf(e.Key)
		s.events, s.at = append(s.events, e), append(s.at, now)
		c := wal.Count{Events: 1, Bytes: uint64(len(e.Data))}
		s.appended.Add(c)
		l.flow += c.Bytes
	}
	close(s.grown)
	s.grown = make(chan struct{})
	return a, nil
}

// Read returns events of the lanes from an offset on, until they take limit bytes.
func (l *Log) Read(name string, from uint64, lanes wal.LaneSet, limit int) (wal.Chunk, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streamLocked(name)
	c := wal.Chunk{Next: max(from, s.first)}
	for ; limit > 0 && c.Next < s.next(); c.Next++ {
		e := s.events[c.Next-s.first]
		if lanes.Has(e.Lane) {
			c.Events = append(c.Events, e)
			limit -= e.Memory()
		}
	}
	c.End = limit > 0
	return c, nil
}

// Next returns the offset of the stream's next event.
func (l *Log) Next(name string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.streamLocked(name).next()
}

// Grown returns a channel that the next Append to the stream closes.
func (l *Log) Grown(name string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.streamLocked(name).grown
}

// Flow returns the bytes of all appended payloads.
func (l *Log) Flow() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flow
}

// Appended counts the events that were ever appended to the stream.
func (l *Log) Appended(name string) wal.Count {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.streamLocked(name).appended
}

// Full returns false.
func (l *Log) Full() bool { return false }

// Stat returns the zero value: a log in memory has no limit.
func (l *Log) Stat() wal.Stat { return wal.Stat{} }

// Cursor returns the cursor of a destination in a stream. A new one begins at the stream's first event.
func (l *Log) Cursor(name, destination string) *Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streamLocked(name)
	c := s.cursors[destination]
	if c == nil {
		c = &Cursor{log: l, stream: s, of: name, name: destination}
		for i := range c.lanes {
			c.lanes[i].Checkpoint = 1
		}
		s.cursors[destination] = c
	}
	return c
}

// trimLocked removes the events that every cursor has settled.
func (s *stream) trimLocked() {
	low := s.next()
	for _, c := range s.cursors {
		low = min(low, c.checkpointLocked())
	}
	if n := int(low - s.first); n > 1000 && n > len(s.events)/2 { // rarely, because the rest is copied
		s.events, s.at, s.first = slices.Clone(s.events[n:]), slices.Clone(s.at[n:]), low
	}
}

// Cursor is a destination's position in a stream. Log.mu guards it.
type Cursor struct {
	log      *Log
	stream   *stream
	of, name string

	lanes  [wal.Lanes]wal.Progress
	ledger wal.Ledger
	state  []byte
	keep   func(state []byte)
}

// Stream returns the name of the stream.
func (c *Cursor) Stream() string { return c.of }

// Name returns the name of the destination.
func (c *Cursor) Name() string { return c.name }

// Lanes returns the progress of each lane.
func (c *Cursor) Lanes() [wal.Lanes]wal.Progress {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	lanes := c.lanes
	for i := range lanes {
		lanes[i].Settled = slices.Clone(lanes[i].Settled)
	}
	return lanes
}

// Settle applies a step. It returns an error, and applies the step all the same, if the step counts events beyond the
// pending ones, or counts events without any progress.
func (c *Cursor) Settle(step wal.Settlement) error {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	counted, moved := step.Add.Settled(), false
	pending := c.stream.appended.Beyond(c.ledger.Settled())
	for lane, p := range step.Lanes {
		p = p.With(c.lanes[lane])
		moved = moved || !p.Equal(c.lanes[lane])
		c.lanes[lane] = p
	}
	c.ledger.Add(&step.Add)
	if step.State != nil {
		c.state = slices.Clone(step.State)
	}
	if c.keep != nil && c.state != nil {
		c.keep(c.state)
	}
	c.stream.trimLocked()
	switch {
	case counted.Events > 0 && !moved:
		return fmt.Errorf("sourcetest: %w: %d events", wal.ErrUnsettled, counted.Events)
	case counted.Beyond(pending) != wal.Count{}:
		return fmt.Errorf("sourcetest: %w: %+v, pending are %+v", wal.ErrOvercounted, counted, pending)
	}
	return nil
}

// Lose returns an error: no part of a log in memory is corrupt.
func (c *Cursor) Lose(corrupt *wal.CorruptError, from uint64, _ *wal.Held) func() (uint64, error) {
	return func() (uint64, error) { return from, fmt.Errorf("sourcetest: no corrupt part: %w", corrupt) }
}

// Floor returns the zero value: no event is to be dropped.
func (c *Cursor) Floor() wal.Floor { return wal.Floor{} }

// checkpointLocked returns the first offset that is not settled.
func (c *Cursor) checkpointLocked() uint64 {
	low := c.lanes[0].Checkpoint
	for i := range c.lanes {
		low = min(low, c.lanes[i].Checkpoint)
	}
	return low
}

// Stat returns the ledger.
func (c *Cursor) Stat() wal.CursorStat {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	st := wal.CursorStat{Ledger: c.ledger, Checkpoint: c.checkpointLocked(), Appended: c.stream.appended}
	st.Dropped = maps.Clone(c.ledger.Dropped)
	st.Pending = st.Appended.Beyond(st.Settled())
	if st.Pending.Events > 0 && st.Checkpoint < c.stream.next() {
		st.OldestPending = c.stream.at[st.Checkpoint-c.stream.first]
	}
	return st
}

// Keep registers f. Settle calls it with the state.
func (c *Cursor) Keep(f func(state []byte)) {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	c.keep = f
}

// DeadLetters keeps dead letters in memory.
type DeadLetters struct {
	mu      sync.Mutex
	letters []deadletter.Letter // guarded by mu
}

// Put stores d.
func (q *DeadLetters) Put(d deadletter.Letter) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.letters = append(q.letters, d)
	return nil
}

// Letters returns the stored letters.
func (q *DeadLetters) Letters() []deadletter.Letter {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.letters)
}
