package shipper

import (
	"slices"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/arrival"
	"github.com/standpipe/standpipe/shipper/internal/backoff"
	"github.com/standpipe/standpipe/shipper/internal/runs"
	"github.com/standpipe/standpipe/wal"
)

// lane is the unit of order: events leave it in the order of their offsets, and at most one request has events of it.
// Its queue can be evicted from memory at any time and read again from the log.
type lane struct {
	set      wal.LaneSet  // the log's lanes that it stands for: one, those at rest, or all where order is the stream's
	progress wal.Progress // the settled events
	next     uint64       // every event below is in queue or settled
	queue    []wal.Event  // unsettled, ascending; the first sent are in a request
	bytes    int          // of memory that queue's events occupy
	sent     int          // the number of events of queue in the request under way
	busy     bool         // a request with events of this lane is under way
	began    time.Time    // when the last request did
	stuck    bool         // that request was cut off and does not return

	// While the destination catches up after an outage, the lane has a twin with the fresh events, and itself only those
	// below end (catchup.go). No request has events of a lane while another has events of its twin.
	twin *lane  // nil: none
	end  uint64 // 0: none
	off  bool   // it is not its turn
	// early is the number of events of the queue that are of the backlog, since each is its key's newest (catchup.go).
	early int

	reading bool          // a read for this lane is under way and its result is wanted
	served  uint64        // the turn at which it was last read for
	arrived arrival.Times // when queue's events came to wait

	failures  *backoff.Failures // set while its records are rejected
	pacing    backoff.Delay     // until its pace has tokens
	misrouted bool              // its last request put events where no consumer looks for them
	// suspect bounds the events of this lane's next batch, which is then its alone (poison.go). 0: no suspicion.
	suspect int

	published wal.Progress // the progress that was last settled in the log
}

// push appends a read event to the queue.
func (l *lane) push(e wal.Event, now time.Time) {
	l.arrived.Add(e.Offset, now)
	l.queue = append(l.queue, e)
	l.bytes += e.Memory()
}

// head returns the offset of the queue's first event; noOffset: it has none.
func (l *lane) head() uint64 {
	if len(l.queue) == 0 {
		return noOffset
	}
	return l.queue[0].Offset
}

// underWay reports whether a request has events of the lane that does not take long.
func (l *lane) underWay(now time.Time) bool { return l.busy && now.Sub(l.began) < longRequest }

// since returns when the queue's first event came to wait. The queue is not empty.
func (l *lane) since() time.Time { return l.arrived.Of(l.queue[0].Offset) }

// trimArrivals drops the arrivals that no event of the queue needs.
func (l *lane) trimArrivals() {
	if len(l.queue) == 0 {
		l.arrived = nil
		return
	}
	l.arrived.Trim(l.queue[0].Offset, l.next)
}

// ready reports whether the lane may be in the next batch.
func (l *lane) ready(now time.Time) bool {
	return !l.busy && !l.off && len(l.queue) > 0 && !l.failures.BackingOff(now) && !l.pacing.Holds(now)
}

// left returns the time until a delay of the lane ends; forever: it has none.
func (l *lane) left(now time.Time) time.Duration {
	wake := l.pacing.Left(now) // also where it has to be read again then
	if l.failures != nil {
		wake = min(wake, l.failures.Delay.Left(now))
	}
	return wake
}

// inRequest reports whether a request is under way whose end settles the events that it has. A request that does not
// return after it was cut off has ended as far as drops go.
func (l *lane) inRequest() bool { return l.busy && !l.stuck }

// holds reports whether that request has events below the floor.
func (l *lane) holds(floor uint64) bool { return l.inRequest() && l.queue[0].Offset < floor }

// limit returns the offset at which the lane's next batch has to stop. The lane catches up with the settled runs beyond
// the checkpoint before it sends anything newer, so their number never exceeds that of one batch.
func (l *lane) limit() uint64 {
	if n := len(l.progress.Settled); n > 0 {
		return l.progress.Settled[n-1].Next
	}
	return ^uint64(0)
}

// evict frees the queue, except for events in a request. The lane is read again from the first event that it lost.
// It returns the freed bytes.
func (l *lane) evict() (freed int) {
	kept := l.queue[:l.sent]
	for i := range l.queue[l.sent:] {
		freed += l.queue[l.sent+i].Memory()
	}
	if l.sent < len(l.queue) {
		l.next = l.queue[l.sent].Offset
	}
	if l.sent == 0 {
		l.next = l.progress.Checkpoint
	}
	l.next, l.early = max(l.next, l.begin()), min(l.early, l.sent) // early events are read with the rest
	l.queue = slices.Clone(kept)
	l.bytes -= freed
	l.reading = false
	l.trimArrivals()
	return freed
}

// removeFirst removes the first n events of the queue, which are settled. It returns the freed bytes.
func (l *lane) removeFirst(n int) (freed int) {
	for i := range l.queue[:n] {
		freed += l.queue[i].Memory()
		l.leave(&l.queue[i])
	}
	if l.busy { // the request still reads them
		l.sent -= min(n, l.sent)
	} else {
		clear(l.queue[:n])
	}
	l.queue = l.queue[n:]
	l.bytes -= freed
	l.trimArrivals()
	l.advance()
	return freed
}

// keep ends a request with the first events of the queue. Events that are done leave the queue. Runs of them behind the
// first event that is not done become part of the progress. done[i] belongs to events[i]. It returns the freed bytes.
func (l *lane) keep(events []wal.Event, done []bool) (freed int) {
	n := len(events)
	l.progress.Settled = runs.Union(l.progress.Settled, runs.Settled(events, done))
	kept := make([]wal.Event, 0, n)
	for i := range events {
		if !done[i] {
			kept = append(kept, events[i])
			continue
		}
		freed += events[i].Memory()
		l.leave(&events[i])
	}
	l.bytes -= freed
	if len(kept) == 0 {
		clear(l.queue[:n])
		l.queue = l.queue[n:]
	} else {
		l.queue = append(kept, l.queue[n:]...)
	}
	l.trimArrivals()
	l.advance()
	return freed
}

// advance moves the checkpoint to the first event of the queue, or to next where the queue is empty: everything before
// is settled. This is the only place where a checkpoint moves.
func (l *lane) advance() {
	l.progress.Checkpoint = max(l.progress.Checkpoint, l.next)
	if len(l.queue) > 0 {
		l.progress.Checkpoint = l.queue[0].Offset
	}
	l.progress.Settled = runs.Beyond(l.progress.Settled, l.progress.Checkpoint)
}

// moved brings the progress up to date, with that of the twin, and reports whether it differs from the one in the log.
func (l *lane) moved() (progress wal.Progress, moved bool) {
	l.advance()
	progress = l.progress
	if l.twin != nil {
		l.twin.advance()
		progress = l.union()
	}
	return progress, !progress.Equal(l.published)
}
