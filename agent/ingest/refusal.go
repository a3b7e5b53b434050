package ingest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/standpipe/standpipe/wal"
)

// refusal is why a request was not stored, or why its outcome is not known; the text says which.
type refusal struct {
	code   codes.Code
	reason string // for Observer.Refused; empty: the events are stored all the same
	event  int    // the event that breaks a rule; noEvent when it is the request as a whole
	text   string
	retry  time.Duration // when to try again; 0: not said

	status int // of HTTP, where code and reason do not tell it
	line   int // of the body, from 1, that has the event; 0: it has no lines
}

const (
	noEvent = -1
	// retryFull is the hint when the log is full and says nothing itself.
	retryFull = time.Second
	// retryOperator is the hint when somebody has to change the configuration first.
	retryOperator = 30 * time.Second
)

func (r *refusal) Error() string {
	if r.event == noEvent {
		return r.text
	}
	return fmt.Sprintf("event %d: %s", r.event, r.text)
}

// errorDomain is the domain of the reasons that a status tells.
const errorDomain = "standpipe"

// GRPCStatus lets a handler return a refusal as it is. A client program finds the reason and the
// event's index in google.rpc.ErrorInfo and the delay in google.rpc.RetryInfo.
func (r *refusal) GRPCStatus() *status.Status {
	s := status.New(r.code, r.Error())
	var details []protoadapt.MessageV1
	if r.reason != "" {
		info := &errdetails.ErrorInfo{Reason: strings.ToUpper(r.reason), Domain: errorDomain}
		if r.event != noEvent {
			info.Metadata = map[string]string{"event": strconv.Itoa(r.event)}
		}
		details = append(details, info)
	}
	if r.retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(r.retry)})
	}
	detailed, err := s.WithDetails(details...)
	if err != nil {
		return s
	}
	return detailed
}

// wait is when to try again what may go well then; 0 for what will not.
func (r *refusal) wait() time.Duration {
	if r.retry == 0 && r.code == codes.Unavailable {
		return retryFull
	}
	return r.retry
}

func invalid(format string, args ...any) *refusal {
	return invalidEvent(noEvent, format, args...)
}

func invalidEvent(event int, format string, args ...any) *refusal {
	return &refusal{
		code: codes.InvalidArgument, reason: ReasonInvalid,
		event: event, text: fmt.Sprintf(format, args...),
	}
}

func unavailable(format string, args ...any) *refusal {
	return &refusal{
		code: codes.Unavailable, reason: ReasonUnavailable,
		event: noEvent, text: fmt.Sprintf(format, args...),
	}
}

var errDraining = unavailable("the agent is shutting down: nothing of this request was stored")

// refusalOf decides what a producer is told about an error of the log.
func refusalOf(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	r := &refusal{event: noEvent, text: strings.TrimPrefix(err.Error(), "wal: ")}
	switch {
	case errors.Is(err, wal.ErrFull):
		r.code, r.reason, r.retry = codes.ResourceExhausted, ReasonFull, retryAfter(err)
	case errors.Is(err, wal.ErrStateFull):
		r.code, r.reason, r.retry = codes.ResourceExhausted, ReasonStateFull, retryOperator
	case errors.Is(err, wal.ErrTooLarge):
		r.code, r.reason = codes.InvalidArgument, ReasonTooLarge
	case errors.Is(err, wal.ErrSequence):
		r.code, r.reason = codes.InvalidArgument, ReasonSequence
	case errors.Is(err, ErrNoStream): // a reload took it away meanwhile
		r.code, r.reason = codes.NotFound, ReasonNoStream
	case errors.Is(err, ErrTooManyStreams): // others made it full meanwhile
		r.code, r.reason, r.retry = codes.ResourceExhausted, ReasonTooManyStreams, retryOperator
	case errors.Is(err, wal.ErrClosed):
		return errDraining
	case errors.Is(err, context.DeadlineExceeded):
		r.code, r.reason = codes.DeadlineExceeded, ReasonGivenUp
		r.text = "the deadline passed while the request waited for the log: nothing of it was stored"
	case errors.Is(err, context.Canceled):
		r.code, r.reason = codes.Canceled, ReasonGivenUp
		r.text = "the request was cancelled while it waited for the log: nothing of it was stored"
	default:
		r.code, r.reason = codes.Unavailable, ReasonUnavailable
	}
	return r
}

func retryAfter(err error) time.Duration {
	if full, ok := errors.AsType[*wal.FullError](err); ok && full.RetryAfter > 0 {
		return full.RetryAfter
	}
	return retryFull
}

// codeName returns the name of a code as gRPC's documentation writes it.
func codeName(c codes.Code) string { return code.Code(c).String() }
