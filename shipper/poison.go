package shipper

import (
	"fmt"
	"time"

	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// A service that rejects a request for one bad record rejects the others with it. The event that is at fault is found by
// bisection: the lanes of suspect records go alone, with half as many events each time, until a rejected record has a
// single event. That event is a dead letter.

// trusted is the number of events of a suspect lane that have to pass until it is no longer suspect.
const trusted = 1024

// errNotTried: the service did not look at this record, because it rejected another one of the request.
var errNotTried = &Error{Class: Transient, Code: "not tried", Record: -1}

// suspects returns the results of the n records of a rejected request: the failure for the record that the service named,
// or for all records if it named none. The others were not tried and are sent again at once.
func suspects(failure *Error, n int) []*Error {
	results := make([]*Error, n)
	for i := range results {
		results[i] = errNotTried
		if failure.Record < 0 || failure.Record >= n || failure.Record == i {
			results[i] = failure
		}
	}
	return results
}

// guilty reports whether the record's one event is surely at fault: the record has no other event, and no other record
// has the same failure.
func (o *outcome) guilty(record int, results []*Error) bool {
	same := 0
	for _, r := range results {
		if r == results[record] {
			same++
		}
	}
	return o.records[record].Events == 1 && same == 1
}

// trust doubles the number of events that a suspect lane sends, and ends the suspicion after enough have passed.
func (l *lane) trust() {
	if l.suspect *= 2; l.suspect > trusted {
		l.suspect = 0
	}
}

// bury makes a dead letter of an event. If that fails the event stays and is tried again.
func (s *Shipper) bury(e *wal.Event, rejection *Error) *Error {
	err := s.opts.Dead.Put(deadletter.Letter{
		Stream: s.stream, Destination: s.opts.Cursor.Name(), Event: *e,
		Reason: rejection.Error(), At: time.Now(),
	})
	if err != nil {
		return &Error{Class: Operator, Code: "dead letter", Record: -1,
			Text: fmt.Sprintf("the refused event %d could not be kept: %v", e.Offset, err)}
	}
	s.warnings.Dead(e, rejection)
	return nil
}
