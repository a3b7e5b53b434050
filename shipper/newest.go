package shipper

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// The newest events of a backlog's keys are searched backwards from its end. The search ends early when it has read
// searchBytes, or holds a quarter of the shipper's memory. Keys beyond that have their newest event among the rest.
const (
	searchBytes = 64 << 20
	searchShare = 4
	// mostNewest bounds the keys of a lane, since the lane's progress has to list the newest events apart from the rest.
	mostNewest = 32
)

// search finds the newest event of each key in [from, until) that is not settled. It is used by the feed's reader.
type search struct {
	source  Source
	stream  string
	settled [wal.Lanes]wal.Progress
	from    uint64
	until   uint64
	memory  int // of the found events
	stopped *atomic.Bool

	found []wal.Event
	held  int
	read  int // bytes
	keys  map[string]bool
	count [wal.Lanes]int // of keys
}

// run returns the found events, in the order of their offsets.
func (s *search) run() []wal.Event {
	s.keys = make(map[string]bool)
	for end := s.until; end > s.from && s.read < searchBytes && !s.stopped.Load(); {
		begin := s.from
		if end-begin > readWindow {
			begin = end - readWindow
		}
		if !s.window(begin, end) {
			break
		}
		end = begin
	}
	slices.SortFunc(s.found, func(a, b wal.Event) int { return cmp.Compare(a.Offset, b.Offset) })
	return s.found
}

// window adds the newest events in [begin, end) of keys without later ones. It returns false if the search ends there.
func (s *search) window(begin, end uint64) bool {
	newest, held := make(map[string]wal.Event), 0
	for begin < end {
		chunk, err := s.source.Read(s.stream, begin, wal.AllLanes, readBytes)
		if err != nil || s.stopped.Load() {
			return false
		}
		for i := range chunk.Events {
			e := &chunk.Events[i]
			s.read += len(e.Data)
			before, known := newest[e.Key]
			if e.Offset >= end || s.keys[e.Key] || !known && s.count[e.Lane] >= mostNewest {
				continue
			}
			if !known {
				s.count[e.Lane]++
			}
			held += e.Memory()
			if known {
				held -= before.Memory()
			}
			newest[e.Key] = *e
			if s.held+held > s.memory {
				return false
			}
		}
		if begin = chunk.Next; chunk.End {
			break
		}
	}
	s.held += held
	for key, e := range newest {
		s.keys[key] = true
		if !s.settled[e.Lane].Done(e.Offset) {
			s.found = append(s.found, e)
		}
	}
	return true
}

// searchNewest requests the search for the newest events of the backlog, once no read is under way.
func (s *Shipper) searchNewest() {
	if s.feed.reading {
		return
	}
	f := &search{
		source: s.opts.Source, stream: s.stream, settled: s.opts.Cursor.Lanes(), until: s.lanes.next(),
		memory: s.lanes.memory / searchShare, stopped: &s.feed.stopped,
	}
	f.from = f.until
	for i := range f.settled {
		f.from = min(f.from, f.settled[i].Checkpoint)
	}
	s.feed.reading, s.turns.ended, s.turns.searching = true, false, true
	s.feed.wants <- want{until: f.until, search: f.run}
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

// leave notes that an event has left the queue, settled. If it is of the backlog, that is progress of the twin.
func (l *lane) leave(e *wal.Event) {
	if l.early > 0 && e.Offset < l.twin.end {
		l.early--
		l.twin.progress.Settled = mergeRuns(l.twin.progress.Settled, []wal.Run{{First: e.Offset, Next: e.Offset + 1}})
	}
}
