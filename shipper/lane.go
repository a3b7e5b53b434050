package shipper

import (
	"cmp"
	"slices"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// lane is the unit of order: events leave it in the order of the log, and at most one request
// that holds some of them is under way. What a lane keeps in memory can be forgotten at any time
// and read again: the log has it.
type lane struct {
	set   wal.LaneSet  // the log's lanes that it stands for: one, or all where order is the stream's
	mark  wal.Progress // what is settled
	next  uint64       // every event below is in queue or settled
	queue []wal.Event  // unsettled, ascending; the first sent are in a request
	bytes int          // of memory that queue's events occupy
	sent  int          // how many of queue are in the request under way
	busy  bool         // a request with events of this lane is under way
	stuck bool         // it was cut off and does not return

	reading bool      // a read for this lane is under way and its result is wanted
	served  uint64    // the turn at which it was last read for
	arrived []arrival // when queue's events came to wait, ascending; the first may be of one that has left

	trouble *trouble  // set while its records are refused
	paced   time.Time // its shard takes nothing before
	astray  bool      // its last request put events where no consumer looks for them
	// suspect bounds the events of this lane's next batch, which is then its alone: how a record that
	// the destination refuses for good is found. 0: no suspicion.
	suspect int

	published wal.Progress // the mark that the log was last told
}

// arrival says that the events from an offset on came to wait at a time.
type arrival struct {
	offset uint64
	at     time.Time
}

// take appends a read event to the queue.
func (l *lane) take(e wal.Event, now time.Time) {
	if n := len(l.arrived); n == 0 || !l.arrived[n-1].at.Equal(now) {
		l.arrived = append(l.arrived, arrival{e.Offset, now})
	}
	l.queue = append(l.queue, e)
	l.bytes += e.Memory()
}

// since returns when the queue's first event came to wait. The queue is not empty.
func (l *lane) since() time.Time { return l.came(&l.queue[0]) }

// came returns when an event of the queue came to wait.
func (l *lane) came(e *wal.Event) time.Time {
	i := len(l.arrived) - 1
	for i > 0 && l.arrived[i].offset > e.Offset {
		i--
	}
	return l.arrived[i].at
}

// forgetArrivals drops those that no event of the queue needs.
func (l *lane) forgetArrivals() {
	for len(l.arrived) > 0 && l.arrived[len(l.arrived)-1].offset >= l.next {
		l.arrived = l.arrived[:len(l.arrived)-1]
	}
	if len(l.queue) == 0 {
		l.arrived = nil
		return
	}
	for len(l.arrived) > 1 && l.arrived[1].offset <= l.queue[0].Offset {
		l.arrived = l.arrived[1:]
	}
}

// ready tells whether the lane may be in the next batch.
func (l *lane) ready(now time.Time) bool {
	return !l.busy && len(l.queue) > 0 && !l.waits(now) && !now.Before(l.paced)
}

// waits tells whether the lane waits out a backoff.
func (l *lane) waits(now time.Time) bool {
	return l.trouble != nil && now.Before(l.trouble.until)
}

// limit returns the offset at which the lane's next batch has to stop: what was settled beyond the
// checkpoint must be caught up with before anything new, so that there is never more of it than
// one batch.
func (l *lane) limit() uint64 {
	if n := len(l.mark.Settled); n > 0 {
		return l.mark.Settled[n-1].Next
	}
	return ^uint64(0)
}

// forget drops the queue from memory; the lane is read again from its checkpoint. It returns the
// bytes freed. A busy lane keeps what is under way.
func (l *lane) forget() (freed int) {
	kept := l.queue[:l.sent]
	for i := range l.queue[l.sent:] {
		freed += l.queue[l.sent+i].Memory()
	}
	if l.sent < len(l.queue) {
		l.next = l.queue[l.sent].Offset
	}
	if l.sent == 0 {
		l.next = l.mark.Checkpoint
	}
	l.queue = slices.Clone(kept)
	l.bytes -= freed
	l.reading = false
	l.forgetArrivals()
	return freed
}

// settleTo updates the mark from what is left in the queue: everything before the first that is
// left, or before next, is settled.
func (l *lane) settleTo() {
	l.mark.Checkpoint = max(l.mark.Checkpoint, l.next)
	if len(l.queue) > 0 {
		l.mark.Checkpoint = l.queue[0].Offset
	}
	l.mark.Settled = runsBeyond(l.mark.Settled, l.mark.Checkpoint)
}

// runsBeyond returns the runs that end beyond offset.
func runsBeyond(runs []wal.Run, offset uint64) []wal.Run {
	for len(runs) > 0 && runs[0].Next <= offset {
		runs = runs[1:]
	}
	if len(runs) == 0 {
		return nil
	}
	return runs
}

// settledRuns returns the runs of the events that are done, beyond the first that is not. done[i]
// belongs to events[i].
func settledRuns(events []wal.Event, done []bool) (runs []wal.Run) {
	first := slices.Index(done, false)
	if first < 0 {
		return nil
	}
	for i := first; i < len(events); i++ {
		if !done[i] {
			continue
		}
		offset := events[i].Offset
		if done[i-1] && len(runs) > 0 {
			runs[len(runs)-1].Next = offset + 1
			continue
		}
		runs = append(runs, wal.Run{First: offset, Next: offset + 1})
	}
	return runs
}

// mergeRuns returns what either covers, ascending and without overlaps.
func mergeRuns(a, b []wal.Run) []wal.Run {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	all := append(slices.Clone(a), b...)
	slices.SortFunc(all, func(x, y wal.Run) int { return cmp.Compare(x.First, y.First) })
	merged := all[:1]
	for _, r := range all[1:] {
		if last := &merged[len(merged)-1]; r.First <= last.Next {
			last.Next = max(last.Next, r.Next)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}
