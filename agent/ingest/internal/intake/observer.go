package intake

import "time"

// Observer counts the events of the listeners, for metrics. Its methods are called from many goroutines.
type Observer interface {
	// Appended is called after a successful response; d is the time since the request arrived.
	Appended(listener string, d time.Duration)
	// Refused is called for n rejected events. stream is empty when the request has no configured stream. reason is one
	// of the Reason constants.
	Refused(stream, reason string, n int)
	// Lost is called for n events with a response of ack level accepted that are not stored; Refused is called too.
	Lost(stream string, n int)
	// Connected is called with 1 and -1 when a connection of a listener is opened and closed.
	Connected(listener string, change int)
	// TurnedAway is called for a rejected connection.
	TurnedAway(listener string)
}

// The reasons of rejections.
const (
	ReasonInvalid     = "invalid"     // breaks a rule of the contract
	ReasonFormat      = "format"      // the data is not of the stream's format
	ReasonTooLarge    = "too_large"   // over max_event_size or the limit of a destination
	ReasonNoStream    = "no_stream"   // names no stream, or none that is configured
	ReasonFull        = "full"        // the log is full
	ReasonSequence    = "sequence"    // the producer's sequence has a gap
	ReasonUnavailable = "unavailable" // shutting down, or the log has failed
	ReasonGivenUp     = "given_up"    // the producer's deadline passed, or it went away

	// ReasonStateFull is of requests of a new stream or producer, while the WAL has no space for another name.
	ReasonStateFull = "state_full"

	ReasonBusy = "busy" // the listener has no budget left

	// ReasonTooManyStreams is of requests that would create more streams than the pattern may have.
	ReasonTooManyStreams = "too_many_streams"

	// ReasonForbidden is of requests to streams that their sender may not write to, and of those of web pages
	// whose origin is not allowed.
	ReasonForbidden = "forbidden"
	// ReasonUnauthenticated is of requests of unknown callers.
	ReasonUnauthenticated = "unauthenticated"
	ReasonRate            = "rate" // the sender exceeds its rate
	ReasonLoop            = "loop" // relayed in a loop, or through too many agents
)

type NoObserver struct{}

func (NoObserver) Appended(string, time.Duration) {}
func (NoObserver) Refused(string, string, int)    {}
func (NoObserver) Lost(string, int)               {}
func (NoObserver) Connected(string, int)          {}
func (NoObserver) TurnedAway(string)              {}
