package intake

import (
	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
)

const (
	// MinBudget is the smallest budget in bytes of a listener's requests.
	MinBudget = 64 << 20
	// DecompressSlots bounds the requests that a listener decompresses at once. They have arrived whole by then, so a slow
	// producer delays no other.
	DecompressSlots = 2
)

// BudgetFor returns the budget of a listener whose requests have at most largest bytes.
func BudgetFor(largest int) *budget.Budget { return budget.New(max(MinBudget, 4*int64(largest))) }

// ErrOverBudget rejects a request for which the budget has not enough units.
var ErrOverBudget = &Rejection{
	Code: codes.Unavailable, Reason: ReasonBusy, Event: NoEvent, Retry: DefaultRetry,
	Text: "the listener holds as many bytes of other requests as it may: nothing of this one was stored",
}
