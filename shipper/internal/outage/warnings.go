package outage

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
	"github.com/standpipe/standpipe/wal"
)

// Warnings writes the repeated log lines of a destination: each kind once, and then once a minute with the number of
// occurrences. It is used by one goroutine.
type Warnings struct {
	logger              hclog.Logger
	stream, destination string

	lanes, buried, faults Line
}

// NewWarnings returns the warnings of a destination.
func NewWarnings(logger hclog.Logger, stream, destination string) Warnings {
	return Warnings{logger: logger, stream: stream, destination: destination}
}

// Lane logs that some records were rejected while others are stored.
func (w *Warnings) Lane(t *backoff.Failures, now time.Time) {
	w.lanes.Note(now, func(failures int) {
		w.logger.Warn("records of some keys are not taken", "stream", w.stream, "destination", w.destination,
			"class", t.Last.Class, "error", t.Last.Error(), "failures", failures)
	})
}

// Dead logs that an event is a dead letter.
func (w *Warnings) Dead(e *wal.Event, rejection *backoff.Error) {
	offset, size := e.Offset, len(e.Data)
	w.buried.Note(time.Now(), func(events int) {
		w.logger.Warn("event rejected by destination; moved to dead letters", "stream", w.stream, "destination", w.destination,
			"events", events, "offset", offset, "bytes", size, "reason", rejection.Error())
	})
}

// Fault logs a settlement that the log rejected.
func (w *Warnings) Fault(err error) {
	w.faults.Note(time.Now(), func(settlements int) {
		w.logger.Error("internal fault: events were not counted as they were settled", "stream", w.stream, "destination", w.destination,
			"settlements", settlements, "error", err)
	})
}

// Write writes the lines that are due. It returns the time until the next line is due.
func (w *Warnings) Write(now time.Time) time.Duration {
	return min(w.lanes.Write(now), w.buried.Write(now), w.faults.Write(now))
}

// Flush writes all lines, at the end.
func (w *Warnings) Flush() {
	w.lanes.Flush()
	w.buried.Flush()
	w.faults.Flush()
}
