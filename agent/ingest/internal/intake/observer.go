package intake

import "time"

// Observer is told what the listeners do, for metrics. It is called from many goroutines.
type Observer interface {
	// Appended is called when a request has been answered well; d is the time since it arrived.
	Appended(listener string, d time.Duration)
	// Refused is called for n events that were refused. stream is empty when the request named no
	// stream that is configured. reason is one of the Reason constants.
	Refused(stream, reason string, n int)
	// Lost is called for n events that were answered as accepted and are not stored; Refused is too.
	Lost(stream string, n int)
	// Connected is called with 1 and -1 when a connection of a listener is opened and closed.
	Connected(listener string, change int)
	// TurnedAway is called for a connection for which the listener has no room.
	TurnedAway(listener string)
}

// Why events were refused.
const (
	ReasonInvalid     = "invalid"     // breaks a rule of the contract
	ReasonFormat      = "format"      // the data is not of the stream's format
	ReasonTooLarge    = "too_large"   // over max_event_size or what a destination takes
	ReasonNoStream    = "no_stream"   // names no stream, or none that is configured
	ReasonFull        = "full"        // the log is full
	ReasonSequence    = "sequence"    // the producer's sequence has a gap
	ReasonUnavailable = "unavailable" // shutting down, or the log has failed
	ReasonGivenUp     = "given_up"    // the producer's deadline passed, or it went away

	// ReasonStateFull is of requests of a stream or producer that is new, while the log has no room for another name.
	ReasonStateFull = "state_full"

	ReasonBusy = "busy" // the listener holds as many requests as it may

	// ReasonTooManyStreams is of requests that would make one stream more than its pattern may have.
	ReasonTooManyStreams = "too_many_streams"

	// ReasonForbidden is of requests to streams that their sender may not write to, and of those of web pages
	// whose origin is not allowed.
	ReasonForbidden = "forbidden"
	// ReasonUnauthenticated is of requests of whom nobody knows.
	ReasonUnauthenticated = "unauthenticated"
	ReasonRate            = "rate" // the sender is over its pace
)

type NoObserver struct{}

func (NoObserver) Appended(string, time.Duration) {}
func (NoObserver) Refused(string, string, int)    {}
func (NoObserver) Lost(string, int)               {}
func (NoObserver) Connected(string, int)          {}
func (NoObserver) TurnedAway(string)              {}
