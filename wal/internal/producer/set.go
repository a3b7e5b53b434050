package producer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

const (
	// Max is the number of producers that the log keeps, and for a while twice as many. Those that have sent nothing
	// for the longest time are evicted first. A batch that an evicted producer repeats is stored again.
	Max = 8192
	// evictionDelay is the longest time that a producer is kept beyond the idle time while others append.
	evictionDelay = time.Minute
)

// Set holds the producers that number their batches.
type Set struct {
	all     map[Key]*producer
	order   []*producer   // all, by their keys
	bytes   int64         // that they take of the state
	state   *atomic.Int64 // the bytes of the log's state, with these
	idle    time.Duration
	logger  hclog.Logger
	opened  time.Time // when the log was opened
	checked time.Time // when idle producers were last looked for
	spare   Changes   // an empty list with memory

	segment uint64      // the number of the newest segment
	carried int64       // bytes of the entries that it has
	next    Key         // Carry continues here
	step    []*producer // that the commit under way carries over
}

// NewSet returns an empty set. It adds the bytes of its entries to state. A producer that sends nothing for idle is
// evicted.
func NewSet(state *atomic.Int64, idle time.Duration, logger hclog.Logger) *Set {
	now := time.Now()
	return &Set{all: make(map[Key]*producer), state: state, segment: 1, idle: idle, logger: logger, opened: now, checked: now}
}

// Len returns the number of producers.
func (s *Set) Len() int { return len(s.all) }

// Has reports whether the producer is in the set.
func (s *Set) Has(key Key) bool { return s.all[key] != nil }

// Recognize reports whether the batch repeats a stored one, and at which offset that is; 0: the offset is no longer
// known. The error is a *SequenceError.
func (s *Set) Recognize(b *Batch) (at uint64, known bool, err error) {
	p := s.all[b.Producer]
	if p == nil {
		return 0, false, nil
	}
	p.lastSent = time.Now()
	at, known, err = p.recognize(b)
	p.MayLeap = p.MayLeap && !known // a producer that repeats a stored batch has sent nothing that the copy lacks
	return at, known, err
}

// NewBytes returns the bytes that a new producer takes of the state.
func NewBytes(key Key) int64 {
	const numbers, run = 5 + 10 + 2 + 4, 12 // bytes without runs, and of the first run
	return entryBytes(key, numbers+run)
}

func entryBytes(key Key, value int) int64 {
	return segment.StatePages(value, key.Stream, key.ID)
}

// Changes are the producers that a commit changes.
type Changes []change

// change is a producer that a commit changes, as it was before.
type change struct {
	p      *producer
	isNew  bool
	before producer
	last   segment.ProducerRun // the last run of before: store changes it in place
}

// note adds the producer to the changes, unless it is one of them.
func (c *Changes) note(p *producer, isNew bool) {
	if p.changed {
		return
	}
	entry := change{p: p, isNew: isNew, before: *p}
	if k := len(p.Runs); k > 0 {
		entry.last = p.Runs[k-1]
	}
	p.changed = true
	*c = append(*c, entry)
}

// Store records a batch that is about to be committed in the set, and in changes. Its events get the offsets from first
// on. When all producers take mostBytes of the state, the producer keeps no more runs than before.
func (s *Set) Store(changes *Changes, b *Batch, first uint64, now time.Time, mostBytes int64) {
	if *changes == nil {
		*changes, s.spare = s.spare, nil
	}
	p, known := s.all[b.Producer]
	if !known {
		p = &producer{key: Key{strings.Clone(b.Producer.ID), strings.Clone(b.Producer.Stream)}}
		s.add(p)
	}
	changes.note(p, !known)
	if p.MayLeap && !b.Leaps && p.Next > 0 && b.Sequence > p.Next { // a producer that leaps leaves sequences out anyway
		s.logger.Warn("producer events missing from this copy of the log", "stream", b.Producer.Stream, "producer", b.Producer.ID,
			"first_sequence", p.Next, "events", b.Sequence-p.Next)
	}
	most := MaxRuns
	if s.bytes >= mostBytes {
		most = max(len(p.Runs), 1)
	}
	p.store(b, first, now)
	p.lastSent = time.Now()
	p.keepRuns(most)
	s.resize(p)
}

// Stored ends the changes and the Carry of a commit that has succeeded.
func (s *Set) Stored(changes Changes) {
	for i := range changes {
		c := &changes[i]
		if c.p.changed = false; c.isNew {
			s.settle(c.p)
		}
	}
	s.endCarry(true)
	s.end(changes)
}

// end keeps the memory of a list whose commit has ended.
func (s *Set) end(changes Changes) {
	clear(changes)
	s.spare = changes[:0]
}

// Undo restores the producers that a failed commit changed, and ends its Carry.
func (s *Set) Undo(changes Changes) {
	s.endCarry(false)
	for i := range changes {
		c := &changes[i]
		if c.isNew {
			s.remove(c.p)
			continue
		}
		s.addBytes(c.p, c.before.bytes-c.p.bytes)
		*c.p = c.before
		if k := len(c.p.Runs); k > 0 {
			c.p.Runs[k-1] = c.last
		}
	}
	s.reorder()
	s.end(changes)
}

// Put writes the entries of the new producers: the others have an entry, and the notes of the commit's blocks continue
// it. through is the number of the last block of the commit that has notes.
func (s *Set) Put(changes Changes, state *segment.StateWriter, through uint64) error {
	for i := range changes {
		c := &changes[i]
		if !c.isNew {
			continue
		}
		if err := put(c.p.key, c.p, state, through); err != nil {
			return err
		}
	}
	return nil
}

// PutAll writes the entries of all producers when the log is opened. through is the number of the last block with notes in
// the segment.
func (s *Set) PutAll(state *segment.StateWriter, through uint64) error {
	for _, p := range s.order {
		if err := put(p.key, p, state, through); err != nil {
			return err
		}
	}
	return nil
}

func put(key Key, p *producer, state *segment.StateWriter, through uint64) error {
	p.Through = through
	if err := state.Put(segment.StateKey(segment.StateProducer, key.Stream, key.ID), p.Append(nil)); err != nil {
		return fmt.Errorf("put producer: %w", err)
	}
	return nil
}

// Entry returns the producer's entry for a segment without notes.
func (s *Set) Entry(key Key) []byte {
	p := s.all[key]
	p.Through = 0
	return p.Append(nil)
}

// Delete deletes the entries of evicted producers, except those of producers that have sent again.
func (s *Set) Delete(keys []Key, state *segment.StateWriter) error {
	for _, key := range keys {
		if s.Has(key) {
			continue
		}
		if err := state.Delete(segment.StateKey(segment.StateProducer, key.Stream, key.ID)); err != nil {
			return fmt.Errorf("delete producer: %w", err)
		}
	}
	return nil
}

// Load adds a producer with its entry of a segment's state, or replaces it. Count counts its bytes.
func (s *Set) Load(seq uint64, key Key, entry []byte) error {
	p := s.all[key]
	if p == nil {
		p = &producer{key: key}
		s.add(p)
	}
	*p = producer{key: key, home: seq}
	err := p.Decode(entry)
	p.measure()
	return err
}

// Replay stores the batch of a note again, after Load for the segment. The note is in the block with that number and
// time. A producer without an entry was evicted after the commit of the block.
func (s *Set) Replay(seq uint64, stream string, n *segment.Note, block uint64, at time.Time) {
	p := s.all[Key{n.Producer, stream}]
	if p == nil || p.home == seq && block <= p.Through {
		return
	}
	p.store(&Batch{Sequence: n.Sequence, Next: n.Next, Events: n.Events}, n.Offset, at)
}

// Clear undoes Load.
func (s *Set) Clear() {
	clear(s.all)
	s.order = nil
}

// AcceptAny lets each producer continue with any sequence: its last batches may be lost.
func (s *Set) AcceptAny() {
	for _, p := range s.all {
		p.Next = 0
	}
}

// AcceptLeaps lets the next batch of each producer leave sequences out: the log is a copy, and may lack batches that
// the producer has sent to the original.
func (s *Set) AcceptLeaps() {
	for _, p := range s.all {
		p.MayLeap = true
	}
}

// Trim drops runs until all producers take at most mostBytes of the state. They may take more after MaxSize was
// lowered, or in a log of an older release.
func (s *Set) Trim(mostBytes int64) {
	for most := MaxRuns / 2; most > 0 && s.bytes > mostBytes; most /= 2 {
		for _, p := range s.order {
			p.keepRuns(most)
			s.resize(p)
		}
	}
}

// Count counts the bytes of all producers after Load and Replay.
func (s *Set) Count() {
	for _, p := range s.order {
		s.resize(p)
	}
}

// resize updates the size of the producer's part of the state.
func (s *Set) resize(p *producer) {
	bytes := entryBytes(p.key, p.Length(p.runs))
	s.addBytes(p, bytes-p.bytes)
	p.bytes = bytes
}

// addBytes counts bytes that the producer's entry grows by.
func (s *Set) addBytes(p *producer, n int64) {
	s.bytes += n
	s.state.Add(n)
	if p.home == s.segment {
		s.carried += n
	}
}

// EvictionDue reports whether Evict should search for idle producers: there are too many, or the last search was a
// while ago.
func (s *Set) EvictionDue() bool {
	return s.full() || time.Since(s.checked) >= min(s.idle/4, evictionDelay)
}

func (s *Set) full() bool { return len(s.all) >= 2*Max }

// Evict removes the producers that have sent nothing for the idle time. If there are too many producers, it also
// removes those that have sent nothing for the longest time. wall is the agent's clock, which counts only if it has
// run evenly. The caller deletes the entries of the result, which take bytes of the disk, with a later commit.
func (s *Set) Evict(wall time.Time, even bool) (keys []Key, bytes int64) {
	now, over := time.Now(), s.full()
	s.checked = now
	for key, p := range s.all {
		if p.idle(now, wall, s.opened, even) >= s.idle {
			bytes += s.evict(key)
			keys = append(keys, key)
		}
	}
	if len(keys) > 0 {
		s.logger.Info("idle producers evicted; a batch they resend is stored again", "producers", len(keys), "producer_idle", s.idle)
	}
	if over && len(s.all) > Max {
		longest := s.byLastSent()[:len(s.all)-Max]
		for _, key := range longest {
			bytes += s.evict(key)
		}
		keys = append(keys, longest...)
		s.logger.Warn("too many producers: the longest-silent are evicted; a batch they resend is stored again",
			"producers", len(longest), "remembered", Max)
	}
	s.reorder()
	return keys, bytes
}

// byLastSent returns the producers, the longest idle first.
func (s *Set) byLastSent() []Key {
	return slices.SortedFunc(maps.Keys(s.all), func(a, b Key) int {
		p, q := s.all[a], s.all[b]
		return cmp.Or(p.lastSent.Compare(q.lastSent), p.Seen.Compare(q.Seen))
	})
}

func (s *Set) evict(key Key) (bytes int64) {
	p := s.all[key]
	bytes = p.bytes
	s.remove(p)
	return bytes
}
