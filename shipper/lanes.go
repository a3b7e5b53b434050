package shipper

import (
	"slices"
	"sync"
	"time"

	"github.com/standpipe/standpipe/wal"
)

const (
	// readBytes is the size of the largest read.
	readBytes = 1 << 20
	// minRead is the part of that a read must have room for: a read of a few events costs as much as a whole one, and
	// there would be one after another.
	minRead = 16
	// laneShare is the part of a shipper's memory that one lane may fill, and one read, which may be of one lane.
	laneShare = 4
)

// lanes are all lanes of a shipper, with the memory that they share. They are used by Run's goroutine alone.
type lanes struct {
	all    []*lane                 // of each of the log's lanes; those at rest have one together
	whole  bool                    // one lane stands for all, since order is the whole stream's
	start  [wal.Lanes]wal.Progress // the cursor's progress at the start, and after each loss
	memory int                     // the limit
	held   int                     // bytes of all queues
	next   func() uint64           // the log's next offset

	heldBacklog int // bytes of the queues before a gap (catchup.go)
}

func newLanes(start [wal.Lanes]wal.Progress, whole bool, memory int, next func() uint64) *lanes {
	s := &lanes{whole: whole, start: start, memory: memory, next: next}
	if whole {
		l := &lane{set: wal.AllLanes, progress: start[0]}
		for _, p := range start[1:] {
			if p.Checkpoint < l.progress.Checkpoint {
				l.progress = p
			}
		}
		l.progress.Settled = nil // start has the runs that are settled beyond
		l.next, l.published = l.progress.Checkpoint, l.progress
		s.all = []*lane{l}
		return s
	}
	for id, p := range start {
		l := s.atRest(p)
		l.set = l.set.With(uint8(id))
		s.all = append(s.all, l)
	}
	return s
}

// atRest returns the lane for those of the log's lanes that begin with this progress. An agent may have a thousand shippers,
// and most of their lanes never have an event.
func (s *lanes) atRest(p wal.Progress) *lane {
	for _, l := range s.all {
		if len(p.Settled) == 0 && l.progress.Equal(p) {
			return l
		}
	}
	return &lane{progress: p, next: p.Checkpoint, published: p}
}

// own returns the lane for one of the log's lanes, without others that are at rest.
func (s *lanes) own(id uint8) *lane {
	l := s.all[id]
	if l.set.Len() > 1 {
		alone := *l
		alone.set = wal.LaneSet(0).With(id)
		l.set &^= alone.set
		s.all[id] = &alone
	}
	return s.all[id]
}

// of returns the lane of an event.
func (s *lanes) of(e *wal.Event) *lane {
	if s.whole {
		return s.all[0]
	}
	l := s.own(e.Lane)
	if l.twin != nil && e.Offset >= l.end {
		return l.twin
	}
	return l
}

// push appends a read event, which came to wait at since, to its lane's queue.
func (s *lanes) push(l *lane, e *wal.Event, since time.Time) {
	l.push(*e, since)
	s.held += e.Memory()
}

// heldEvents returns the events of all queues, as the log counts them when others are lost.
func (s *lanes) heldEvents() *wal.Held {
	held := new(wal.Held)
	for _, l := range s.all {
		for id := range uint8(wal.Lanes) {
			if l.set.Has(id) {
				held.Next[id] = l.next
			}
		}
		for i := range l.queue {
			held.Count.Add(wal.Count{Events: 1, Bytes: uint64(len(l.queue[i].Data))})
		}
	}
	return held
}

// settled reports whether an event was settled before the start, or since.
func (s *lanes) settled(l *lane, e *wal.Event) bool {
	return s.start[e.Lane].Done(e.Offset) || l.progress.Done(e.Offset)
}

// idle reports whether nothing is left to read or to send.
func (s *lanes) idle() bool {
	end := s.next()
	return !slices.ContainsFunc(s.all, func(l *lane) bool { return len(l.queue) > 0 || l.unread(end) })
}

// full reports whether the free memory is not worth a read.
func (s *lanes) full() bool { return s.memory-s.held < min(readBytes, s.memory)/minRead }

// starved reports whether a lane that could send has nothing to send.
func (s *lanes) starved(now time.Time) bool {
	end := s.next()
	return slices.ContainsFunc(s.all, func(l *lane) bool {
		return len(l.queue) == 0 && l.unread(end) && !l.failures.BackingOff(now) && !l.pacing.Holds(now)
	})
}

// laneLimit returns the bytes that one lane may hold: a busy lane leaves room for the others. A lane that waits for its
// pace or fails leaves even more, since it may be evicted again. And while memory is short and another lane starves, a
// lane that waits for its pace gets nothing: it would be evicted for the starved one and read again at once.
func (s *lanes) laneLimit(now time.Time, l *lane) int {
	switch {
	case s.whole:
		return s.memory
	case l.pacing.Holds(now) && s.held > s.memory/2, s.catchingUp() && s.crowds(l):
		return 0
	case l.pacing.Holds(now), l.failures != nil:
		return s.memory / wal.Lanes
	}
	return s.memory / laneShare
}

// evict frees the queues of the lanes that match, except for events in requests.
func (s *lanes) evict(match func(*lane) bool) {
	for _, l := range s.all {
		if match(l) {
			s.held -= l.evict()
		}
	}
}

// room returns the bytes that may be read now. If memory is short, it evicts lanes that back off, and then, if another
// lane starves, lanes that wait for their pace, and the backlog if fresh events have no memory.
func (s *lanes) room(now time.Time) int {
	if s.full() {
		s.evict(func(l *lane) bool { return l.failures.BackingOff(now) })
	}
	if s.full() && s.starved(now) {
		s.evict(func(l *lane) bool { return l.pacing.Holds(now) })
	}
	if s.full() && s.freshStarves(now) {
		s.evict((*lane).backlog)
	}
	if s.full() {
		return 0
	}
	return s.memory - s.held
}

// outageRoom is room while the destination takes nothing at all: one request's worth is enough to try with, and queues
// that are far larger are evicted.
func (s *lanes) outageRoom() int {
	worth := min(readBytes, s.memory)
	if s.held > 2*worth {
		s.evict(func(*lane) bool { return true })
	}
	if s.held > worth/2 {
		return 0
	}
	return worth - s.held
}

// release ends the delays of lanes that failed with their destination, which takes requests again.
func (s *lanes) release(now time.Time) {
	for _, l := range s.all {
		l.failures.Release(now)
	}
}

// steps has maps for the Lanes of settlements.
var steps = sync.Pool{New: func() any { return make(map[uint8]wal.Progress) }}

// settlement returns a step of the ledger with the progress of all lanes that have moved. Where a lane stands for all,
// some of the log's lanes may be further: the cursor keeps those.
func (s *lanes) settlement(add wal.Ledger) wal.Settlement {
	step := wal.Settlement{Add: add}
	for _, l := range s.old() {
		progress, moved := l.moved()
		if !moved {
			continue
		}
		if step.Lanes == nil {
			step.Lanes = steps.Get().(map[uint8]wal.Progress)
		}
		l.published = progress
		for id := range uint8(wal.Lanes) {
			if l.set.Has(id) {
				step.Lanes[id] = progress
			}
		}
	}
	return step
}
