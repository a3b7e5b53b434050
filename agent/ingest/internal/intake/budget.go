package intake

import (
	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
)

const (
	// MinBudget is the smallest default budget in bytes of a listener's requests.
	MinBudget = 64 << 20
	// DecompressSlots bounds the requests that a listener decompresses at once. They have arrived whole by then, so a slow
	// producer delays no other.
	DecompressSlots = 2
)

// NewBudget returns the budget of the listener, whose requests have at most largest bytes: MaxHeld, or by default MinBudget or
// four of the largest.
func (in *Intake) NewBudget(largest int) *budget.Budget {
	if in.MaxHeld > 0 {
		return budget.New(in.MaxHeld)
	}
	return budget.New(DefaultBudget(int64(largest)))
}

// DefaultBudget is the default of Options.MaxHeld.
func DefaultBudget(largest int64) int64 { return max(MinBudget, 4*largest) }

// ErrOverBudget rejects a request for which the budget has not enough units.
var ErrOverBudget = &Rejection{
	Code: codes.Unavailable, Reason: ReasonBusy, Event: NoEvent, Retry: DefaultRetry,
	Text: "the listener holds as many bytes of other requests as it may: nothing of this one was stored",
}
