package shipper

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal"
)

// warnEvery is the shortest time between two log lines of one kind about a destination.
const warnEvery = time.Minute

// warnings writes the repeated log lines of a destination: each kind once, and then once a minute with the number of
// occurrences. It is used by Run's goroutine alone.
type warnings struct {
	logger              hclog.Logger
	stream, destination string

	lanes, buried, faults sparse
}

// lane logs that some records were rejected while others are stored.
func (w *warnings) lane(t *failures, now time.Time) {
	w.lanes.note(now, func(failures int) {
		w.logger.Warn("records of some keys are not taken", "stream", w.stream, "destination", w.destination,
			"class", t.last.Class, "error", t.last.Error(), "failures", failures)
	})
}

// dead logs that an event is a dead letter.
func (w *warnings) dead(e *wal.Event, rejection *Error) {
	offset, size := e.Offset, len(e.Data)
	w.buried.note(time.Now(), func(events int) {
		w.logger.Warn("event rejected by destination; moved to dead letters", "stream", w.stream, "destination", w.destination,
			"events", events, "offset", offset, "bytes", size, "reason", rejection.Error())
	})
}

// fault logs a settlement that the log rejected.
func (w *warnings) fault(err error) {
	w.faults.note(time.Now(), func(settlements int) {
		w.logger.Error("internal fault: events were not counted as they were settled", "stream", w.stream, "destination", w.destination,
			"settlements", settlements, "error", err)
	})
}

// write writes the lines that are due. It returns the time until the next line is due.
func (w *warnings) write(now time.Time) time.Duration {
	return min(w.lanes.write(now), w.buried.write(now), w.faults.write(now))
}

// flush writes all lines, at the end.
func (w *warnings) flush() {
	w.lanes.flush()
	w.buried.flush()
	w.faults.flush()
}

// sparse is a log line that is due at once the first time, and then once an interval with the number of events it covers.
type sparse struct {
	next   time.Time
	events int
	line   func(events int)
}

// note counts one more.
func (l *sparse) note(now time.Time, line func(events int)) {
	l.events++
	l.line = line
	l.write(now)
}

// write writes the line if it is due. It returns the time until it is.
func (l *sparse) write(now time.Time) time.Duration {
	switch {
	case l.events == 0:
		return forever
	case now.Before(l.next):
		return l.next.Sub(now)
	}
	l.flush()
	l.next = now.Add(warnEvery)
	return forever
}

// flush writes the line if events were noted since the last one.
func (l *sparse) flush() {
	if l.events > 0 {
		l.line(l.events)
		l.events = 0
	}
}
