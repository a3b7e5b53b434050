package outage

import (
	"time"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
)

// warnEvery is the shortest time between two log lines of one kind about a destination.
const warnEvery = time.Minute

// Line is a log line that is due at once the first time, and then once an interval with the number of events it covers.
type Line struct {
	next   time.Time
	events int
	line   func(events int)
}

// Note counts one more.
func (l *Line) Note(now time.Time, line func(events int)) {
	l.events++
	l.line = line
	l.Write(now)
}

// Write writes the line if it is due. It returns the time until it is.
func (l *Line) Write(now time.Time) time.Duration {
	switch {
	case l.events == 0:
		return backoff.Forever
	case now.Before(l.next):
		return l.next.Sub(now)
	}
	l.Flush()
	l.next = now.Add(warnEvery)
	return backoff.Forever
}

// Flush writes the line if events were noted since the last one.
func (l *Line) Flush() {
	if l.events > 0 {
		l.line(l.events)
		l.events = 0
	}
}
