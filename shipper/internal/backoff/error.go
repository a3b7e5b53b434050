package backoff

import (
	"fmt"
	"time"
)

// Class is the reaction that an error needs.
type Class uint8

// The classes of error.
const (
	Transient Class = iota // try again, with backoff, for ever
	Throttled              // the same, and slow down
	Operator               // an operator must change something: keep everything, try again slowly, report it
	Poison                 // the record itself is refused: dead-letter it once it is alone
)

func (c Class) String() string {
	return [...]string{"transient", "throttled", "operator", "poison"}[c]
}

// CodeTimeout is the Code of a request that was not answered in time: its outcome is unknown.
const CodeTimeout = "timeout"

// Error is a destination's refusal or failure.
type Error struct {
	Class Class
	Code  string // the service's code, for example ProvisionedThroughputExceededException
	Text  string // the service's text; never a payload
	// Record is the index of the record that the service named in a refused request, or -1.
	Record int
	// TooLarge: a hop on the way to the service does not take a request of that size. Smaller ones may pass; the
	// Class decides how a request of one event is handled.
	TooLarge bool
	// Remedy is the change that an operator makes if the failure lasts; empty: it passes by itself. Requests go on as the Class
	// demands, but the destination counts as blocked after a few such failures.
	Remedy string
	// Unreached: no connection to the service was made in time, or its host was silent. The other destinations of the endpoint
	// cannot reach it either.
	Unreached bool
	// Between: a status of the class 5xx without an error of the service. A proxy or a load balancer gave it, as far as is known to
	// all destinations of the endpoint.
	Between bool
	// RetryAfter is the service's own delay, a floor for ours; 0: it named none.
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Code
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Text)
}
