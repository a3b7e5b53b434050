package intake

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/wal"
)

func TestRejection_OfANewNameHasItAndTheBound(t *testing.T) {
	err := fmt.Errorf("append: %w", &wal.StateError{Stream: "clicks", Producer: "meter-7", Used: 1000, Max: 1024})
	got := RejectionOf(err)
	want := Rejection{Code: codes.ResourceExhausted, Reason: ReasonStateFull, Event: NoEvent, Retry: retryOperator, Text: err.Error()}
	if *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
}

// Every error of the log has a code and a reason of its own. Requests that no retry can help get no delay.
func TestRejection_OfEveryErrorOfTheLog(t *testing.T) {
	for _, c := range []struct {
		err    error
		code   codes.Code
		reason string
		retry  bool
	}{
		{wal.ErrFull, codes.ResourceExhausted, ReasonFull, true},
		{wal.ErrStateFull, codes.ResourceExhausted, ReasonStateFull, true},
		{wal.ErrTooLarge, codes.InvalidArgument, ReasonTooLarge, false},
		{wal.ErrSequence, codes.InvalidArgument, ReasonSequence, false},
		{ErrNoStream, codes.NotFound, ReasonNoStream, false},
		{ErrTooManyStreams, codes.ResourceExhausted, ReasonTooManyStreams, true},
		{wal.ErrClosed, codes.Unavailable, ReasonUnavailable, true},
		{context.DeadlineExceeded, codes.DeadlineExceeded, ReasonGivenUp, false},
		{context.Canceled, codes.Canceled, ReasonGivenUp, false},
		{ErrOverBudget, codes.Unavailable, ReasonBusy, true},
		{errors.New("the disk has failed"), codes.Unavailable, ReasonUnavailable, true},
	} {
		r := RejectionOf(fmt.Errorf("append: %w", c.err))
		if r.Code != c.code || r.Reason != c.reason || r.RetryAfter() > 0 != c.retry || r.Text == "" {
			t.Errorf("%v: got %v, reason %q, retry %v, text %q; want %v, %q, %v", c.err, r.Code, r.Reason, r.RetryAfter(), r.Text, c.code, c.reason, c.retry)
		}
	}
}
