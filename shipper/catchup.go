package shipper

import (
	"math"
	"slices"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
	"github.com/standpipe/standpipe/shipper/internal/catchup"
	"github.com/standpipe/standpipe/shipper/internal/pack"
	"github.com/standpipe/standpipe/shipper/internal/runs"
	"github.com/standpipe/standpipe/wal"
)

// CatchUp is the order in which a destination gets a stream's events after an outage.
type CatchUp = catchup.Mode

const (
	// mostRuns is the number of settled runs in a lane's backlog up to which another outage makes a new gap. With more, the
	// lane keeps its gap, so its progress stays small.
	mostRuns = 8
	// mostRunsNewest is the same where the newest events of the keys go first.
	mostRunsNewest = 2 * catchup.MostKeys
	// noOffset is beyond every offset.
	noOffset = math.MaxUint64
)

// splitAfterOutage makes the gap of an outage that has ended.
func (s *Shipper) splitAfterOutage() {
	switch {
	case !s.turns.Ended:
		return
	case s.lanes.whole || !s.turns.Mode.Splits():
	case s.turns.Mode.Latest:
		if s.feed.reading {
			return // the search is the next read
		}
		s.turns.Searching = true
		s.feed.search(&catchup.Search{Source: s.opts.Source, Stream: s.stream, Settled: s.opts.Cursor.Lanes(), Until: s.lanes.next(),
			Memory: s.lanes.memory, Stopped: &s.feed.stopped})
	default:
		s.lanes.split(s.lanes.next(), mostRuns)
	}
	s.turns.Ended = false
	s.turns.Begin(time.Now(), s.lanes.next())
}

// nextBatch is the batcher's next. While the lanes catch up, a batch has either fresh events or some of the backlog, and the
// backlog leaves one request to fresh events that may go first.
func (s *Shipper) nextBatch(now time.Time) (batch *pack.Batch, wake time.Duration) {
	if !s.lanes.catchingUp() {
		return s.batcher.next(now, s.demand(), s.feed.reading)
	}
	wake = backoff.Forever
	first := s.turns.First()
	for _, fresh := range [...]bool{first, !first} {
		if first && !fresh && len(s.requests) > 0 && len(s.requests) >= s.window-1 {
			continue
		}
		s.lanes.admit(fresh)
		batch, left := s.batcher.next(now, s.demand(), s.feed.reading)
		if batch != nil {
			s.turns.Fresh = fresh
			return batch, 0
		}
		wake = min(wake, left)
	}
	return nil, wake
}

// catchingUp reports whether a lane has a twin. Then all has the twins behind the lanes: that of lane i is
// all[wal.Lanes+i].
func (s *lanes) catchingUp() bool { return len(s.all) > wal.Lanes }

// old returns the lanes without their twins.
func (s *lanes) old() []*lane { return s.all[:min(len(s.all), wal.Lanes)] }

// split makes a gap: each lane keeps its events below it, and its twin gets those from it on. A lane that has a twin
// gives up the earlier gap, unless a request has events of the twin, or it would have to keep more than most settled runs.
// With as many of a shipper before this one, the gap is behind the last of them, so their number stays.
func (s *lanes) split(gap uint64, most int) {
	if !s.catchingUp() {
		for id := range uint8(wal.Lanes) {
			s.all = append(s.all, unused(s.own(id).set))
		}
	}
	for i, l := range s.old() {
		end, settled := gap, l.union().Settled
		switch many := len(settled) > most; {
		case l.twin != nil && (l.twin.busy || many):
			continue
		case many: // its gaps are those of earlier shippers
			end = settled[len(settled)-1].Next
			s.held -= l.evict()
			l.next = min(l.next, end)
		}
		s.fold(l)
		twin := s.all[wal.Lanes+i]
		*twin = lane{set: l.set, progress: wal.Progress{Checkpoint: end}, next: end, twin: l}
		l.twin, l.end = twin, end
	}
	s.join()
}

// splitAtNewest makes the gap of an outage. The newest events of the keys of its backlog go first, except for events below
// the floor.
func (s *lanes) splitAtNewest(gap uint64, newest []wal.Event, floor uint64, now time.Time) {
	s.split(gap, mostRunsNewest)
	for i := range newest {
		e := &newest[i]
		l := s.all[e.Lane]
		if l.twin == nil || l.end != gap || l.busy || l.progress.Done(e.Offset) || e.Offset < floor {
			continue
		}
		if l.twin.early == 0 {
			s.held -= l.evict() // it waits for the newest events, and reads on then
		}
		l.twin.early++
		s.push(l.twin, e, now)
	}
}

// fold gives up the gap of a lane whose twin is in no request. The settled events of the twin become settled runs of the
// lane, and its other events are read again.
func (s *lanes) fold(l *lane) {
	if l.twin == nil {
		return
	}
	l.progress = l.union()
	s.held -= l.twin.bytes
	*l.twin = *unused(l.set)
	l.twin, l.end = nil, 0
}

// join makes one lane of each two where the first has settled its events below the gap. A request that has events of
// either ends first.
func (s *lanes) join() {
	left := false
	for _, l := range s.old() {
		switch {
		case l.twin == nil:
			continue
		case len(l.queue) > 0 || l.next < l.end || l.busy || l.twin.busy:
			left = true
			continue
		}
		twin, published := l.twin, l.published
		*l = *twin
		l.twin, l.published = nil, published
		*twin = *unused(l.set)
	}
	if !left {
		s.endCatchUp()
	}
}

// rejoin gives up all gaps, and reports whether there is none left: a lane keeps its gap while a request has events of
// its twin.
func (s *lanes) rejoin() bool {
	for _, l := range s.old() {
		if l.twin != nil && !l.twin.busy {
			s.fold(l)
		}
	}
	s.join()
	return !s.catchingUp()
}

func (s *lanes) endCatchUp() {
	s.all = s.old()
	for _, l := range s.all {
		l.off = false
	}
}

// unused returns a lane that is no lane's twin: it has no events, and none is read for it.
func unused(set wal.LaneSet) *lane { return &lane{set: set, next: noOffset} }

// admit lets only the fresh events go, or only the backlog, and of two twins only one at a time.
func (s *lanes) admit(fresh bool) {
	for _, l := range s.all {
		l.off = l.backlog() == fresh || l.twin != nil && l.twin.busy
	}
}

// regroup joins the lanes that have caught up, and adds up the memory of the backlog.
func (s *lanes) regroup() {
	if !s.catchingUp() {
		return
	}
	s.join()
	s.heldBacklog = 0
	for _, l := range s.all {
		if l.backlog() {
			s.heldBacklog += l.bytes
		}
	}
}

// crowds reports whether the part to which the lane belongs, the backlog or the fresh events, has half of the memory.
func (s *lanes) crowds(l *lane) bool {
	held := s.heldBacklog
	if !l.backlog() {
		held = s.held - held
	}
	return held > s.memory/2
}

// freshStarves reports whether a lane has fresh events to read, none in memory, and the backlog has half of the memory.
func (s *lanes) freshStarves(now time.Time) bool {
	end := s.next()
	return s.catchingUp() && s.heldBacklog > s.memory/2 && slices.ContainsFunc(s.all, func(l *lane) bool {
		return !l.backlog() && len(l.queue) == 0 && l.unread(end) && !l.failures.BackingOff(now)
	})
}

// backlog reports whether the lane's events are those before a gap.
func (l *lane) backlog() bool { return l.end > 0 }

// unread reports whether the log, which ends at end, has events that are to be read for the lane.
func (l *lane) unread(end uint64) bool {
	if l.backlog() {
		end = min(end, l.end)
	}
	return l.next < end && !l.waits()
}

// drops reports whether the lane has to be read for events below the floor, which are dropped. None of them is in a request.
func (l *lane) drops(floor uint64) bool {
	if l.backlog() {
		floor = min(floor, l.end)
	}
	return l.next < floor && !l.inRequest() && !(l.waits() && l.twin.holds(floor))
}

// waits reports whether the lane waits for the newest events of its backlog, which its twin sends first.
func (l *lane) waits() bool { return l.backlog() && l.twin.early > 0 }

// begin returns the offset from which on the lane is read.
func (l *lane) begin() uint64 {
	if l.twin == nil || l.backlog() {
		return 0
	}
	return l.twin.end
}

// readTo notes that the lane was read up to an offset.
func (l *lane) readTo(next uint64) {
	if l.backlog() {
		next = min(next, l.end)
	}
	l.next = max(l.next, next)
}

// union returns the progress of the lane and of its twin as one.
func (l *lane) union() wal.Progress {
	if l.twin == nil {
		return l.progress
	}
	// The first events of the twin may be early ones. Their ends are progress of the lane itself (leave).
	fresh := wal.Progress{Settled: slices.Clone(runs.Beyond(l.twin.progress.Settled, l.end))}
	if len(fresh.Settled) > 0 {
		fresh.Settled[0].First = max(fresh.Settled[0].First, l.end)
	}
	if next := l.twin.progress.Checkpoint; next > l.end {
		fresh.Settled = append([]wal.Run{{First: l.end, Next: next}}, fresh.Settled...)
	}
	return l.progress.With(fresh)
}

// leave notes that an event has left the queue, settled. If it is of the backlog, that is progress of the twin.
func (l *lane) leave(e *wal.Event) {
	if l.early > 0 && e.Offset < l.twin.end {
		l.early--
		l.twin.progress.Settled = runs.Union(l.twin.progress.Settled, []wal.Run{{First: e.Offset, Next: e.Offset + 1}})
	}
}
