package intake

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

// Rejection is the reason why a request was not stored, or why its outcome is unknown.
type Rejection struct {
	Code   codes.Code
	Reason string // for Observer.Refused; empty: the events are stored
	Event  int    // the event that breaks a rule; noEvent when it is the request as a whole
	Text   string
	Retry  time.Duration // when to try again; 0: no hint

	// NextSequence is the sequence that continues those of the producer, of a rejection for its sequence; else 0.
	NextSequence uint64

	Status int // of HTTP; 0: it follows from Code and Reason
	Line   int // of the body, from 1, that has the event; 0: it has no lines
}

const (
	NoEvent = -1
	// DefaultRetry is the retry delay while the WAL is full and has no estimate.
	DefaultRetry = time.Second
	// retryOperator is the retry delay where the configuration must change first.
	retryOperator = 30 * time.Second
)

func (r *Rejection) Error() string {
	if r.Event == NoEvent {
		return r.Text
	}
	return fmt.Sprintf("event %d: %s", r.Event, r.Text)
}

// errorDomain is the domain of the reasons in a gRPC status.
const errorDomain = "standpipe"

// GRPCStatus returns the status of a rejection. google.rpc.ErrorInfo has its reason and the index of its event, and
// google.rpc.RetryInfo its retry delay. A rejection for the sequence has the expected one as next_sequence.
func (r *Rejection) GRPCStatus() *status.Status {
	s := status.New(r.Code, r.Error())
	var details []protoadapt.MessageV1
	if r.Reason != "" {
		info := &errdetails.ErrorInfo{Reason: strings.ToUpper(r.Reason), Domain: errorDomain}
		switch {
		case r.Event != NoEvent:
			info.Metadata = map[string]string{"event": strconv.Itoa(r.Event)}
		case r.NextSequence > 0:
			info.Metadata = map[string]string{"next_sequence": strconv.FormatUint(r.NextSequence, 10)}
		}
		details = append(details, info)
	}
	if r.Retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(r.Retry)})
	}
	detailed, err := s.WithDetails(details...)
	if err != nil {
		return s
	}
	return detailed
}

// RetryAfter returns the delay after which a retry may succeed, or 0 where it cannot.
func (r *Rejection) RetryAfter() time.Duration {
	if r.Retry == 0 && r.Code == codes.Unavailable {
		return DefaultRetry
	}
	return r.Retry
}

// Invalid returns the rejection of a request that breaks a rule.
func Invalid(format string, args ...any) *Rejection {
	return InvalidEvent(NoEvent, format, args...)
}

// InvalidEvent returns the rejection of the event with that index.
func InvalidEvent(event int, format string, args ...any) *Rejection {
	return &Rejection{
		Code: codes.InvalidArgument, Reason: ReasonInvalid,
		Event: event, Text: fmt.Sprintf(format, args...),
	}
}

// Unavailable returns the rejection of a request that may succeed later.
func Unavailable(format string, args ...any) *Rejection {
	return &Rejection{
		Code: codes.Unavailable, Reason: ReasonUnavailable,
		Event: NoEvent, Text: fmt.Sprintf(format, args...),
	}
}

// ErrDraining rejects requests of a listener that stops.
var ErrDraining = Unavailable("the agent is shutting down: nothing of this request was stored")

// RejectionOf returns the rejection for an error of the WAL.
func RejectionOf(err error) *Rejection {
	if r, ok := errors.AsType[*Rejection](err); ok {
		return r
	}
	r := &Rejection{Event: NoEvent, Text: strings.TrimPrefix(err.Error(), "wal: ")}
	switch {
	case errors.Is(err, wal.ErrFull):
		r.Code, r.Reason, r.Retry = codes.ResourceExhausted, ReasonFull, retryAfter(err)
	case errors.Is(err, wal.ErrStateFull):
		r.Code, r.Reason, r.Retry = codes.ResourceExhausted, ReasonStateFull, retryOperator
	case errors.Is(err, wal.ErrTooLarge):
		r.Code, r.Reason = codes.InvalidArgument, ReasonTooLarge
	case errors.Is(err, wal.ErrSequence):
		r.Code, r.Reason = codes.InvalidArgument, ReasonSequence
		if order, ok := errors.AsType[*wal.SequenceError](err); ok {
			r.NextSequence = order.Want
		}
	case errors.Is(err, ErrNoStream): // a reload has removed it
		r.Code, r.Reason = codes.NotFound, ReasonNoStream
	case errors.Is(err, ErrTooManyStreams): // other requests have created the last ones
		r.Code, r.Reason, r.Retry = codes.ResourceExhausted, ReasonTooManyStreams, retryOperator
	case errors.Is(err, wal.ErrClosed):
		return ErrDraining
	case errors.Is(err, context.DeadlineExceeded):
		r.Code, r.Reason = codes.DeadlineExceeded, ReasonGivenUp
		r.Text = "the deadline passed while the request waited for the log: nothing of it was stored"
	case errors.Is(err, context.Canceled):
		r.Code, r.Reason = codes.Canceled, ReasonGivenUp
		r.Text = "the request was cancelled while it waited for the log: nothing of it was stored"
	default:
		r.Code, r.Reason = codes.Unavailable, ReasonUnavailable
	}
	return r
}

func retryAfter(err error) time.Duration {
	if full, ok := errors.AsType[*wal.FullError](err); ok && full.RetryAfter > 0 {
		return full.RetryAfter
	}
	return DefaultRetry
}

// CodeName returns the name of a code as gRPC's documentation writes it.
func CodeName(c codes.Code) string { return code.Code(c).String() }
