package grpcin

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
	"github.com/standpipe/standpipe/agent/ingest/internal/h2guard"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

// freeInflow is the size in bytes up to which a whole request acquires no budget.
const freeInflow = 64 << 10

// heldWhole returns the bytes that a whole request of that size acquires.
func heldWhole(size int) int64 {
	if size <= freeInflow {
		return 0
	}
	return int64(size)
}

// Budget returns the budget of whole requests, which half-sent ones share.
func (s *service) Budget() *budget.Budget { return s.budget }

// Reject counts a request that the guard ends and returns its status.
func (s *service) Reject(cause h2guard.Cause) *status.Status {
	rejected := errNoInflow
	if cause == h2guard.TooManyRequests {
		rejected = errNoStreamFree
	}
	s.in.Observer.Refused("", rejected.Reason, 1)
	return rejected.GRPCStatus()
}

var (
	errNoInflow = &intake.Rejection{
		Code: codes.Unavailable, Reason: intake.ReasonBusy, Event: intake.NoEvent, Retry: intake.DefaultRetry,
		Text: "the listener holds as many bytes of requests as it may: this one had not arrived whole, and nothing of it was stored",
	}
	errNoStreamFree = &intake.Rejection{
		Code: codes.Unavailable, Reason: intake.ReasonBusy, Event: intake.NoEvent, Retry: intake.DefaultRetry,
		Text: "the listener has as many requests under way as it may: nothing of this one was stored",
	}
)
