package client

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	// ErrFull is returned by Publish with NoBlock when the buffer has no room.
	ErrFull = errors.New("the publisher's buffer is full")
	// ErrClosed is returned by Publish after Close, and is the error of events that Close, or the end
	// of their Client, left without an answer: whether those are stored is not known.
	ErrClosed = errors.New("the publisher is closed")
	// ErrGivenUp is the error of events that were without an answer for as long as PublisherOptions.GiveUp:
	// whether they are stored is not known.
	ErrGivenUp = errors.New("the publisher has given up")
)

// NoEvent is Error.Event when a request as a whole was refused.
const NoEvent = -1

// Error is why events were not stored, or why it is not known whether they are.
type Error struct {
	Code codes.Code
	// Reason is the agent's word for it: "invalid", "format", "too_large", "no_stream", "full",
	// "sequence" and so on, as standpipe_refused_events_total counts it. Empty: the error is not the agent's.
	Reason string
	// Event is the index, from 0, of the event in its request that breaks a rule, or NoEvent.
	Event int
	// RetryAfter is the delay that the agent requests before a retry; 0: none.
	RetryAfter time.Duration
	// NextSequence is the sequence that the agent expects, of a request that it rejected for its sequence; else 0.
	NextSequence uint64
	Text         string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", code.Code(e.Code), e.Text) }

// Final reports whether the same request would be rejected again: nothing of it is stored. Other errors are worth a
// retry; their outcome is unknown unless the text excludes it.
func (e *Error) Final() bool {
	switch e.Code {
	case codes.InvalidArgument, codes.NotFound, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented, codes.OutOfRange:
		return true
	}
	return e.tooLarge()
}

// unadmitted reports whether the agent rejected the sender, not an event.
func (e *Error) unadmitted() bool {
	return e.Code == codes.Unauthenticated || e.Code == codes.PermissionDenied
}

// tooLarge: the agent requests a delay when it has no room; without one the request is over its size.
func (e *Error) tooLarge() bool { return e.Code == codes.ResourceExhausted && e.RetryAfter == 0 }

// ErrorOf returns the parts of the error of a call of package proto's client, for programs that use Connect.
func ErrorOf(err error) *Error {
	s := status.Convert(err)
	e := &Error{Code: s.Code(), Event: NoEvent, Text: s.Message()}
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.RetryInfo:
			e.RetryAfter = d.GetRetryDelay().AsDuration()
		case *errdetails.ErrorInfo:
			e.Reason = strings.ToLower(d.GetReason())
			if i, err := strconv.Atoi(d.GetMetadata()["event"]); err == nil {
				e.Event = i
			}
			e.NextSequence, _ = strconv.ParseUint(d.GetMetadata()["next_sequence"], 10, 64)
		}
	}
	return e
}

// alone is the error of the one event that it names.
func (e *Error) alone() *Error {
	one := *e
	one.Text = strings.TrimPrefix(e.Text, fmt.Sprintf("event %d: ", e.Event))
	one.Event = NoEvent
	return &one
}
