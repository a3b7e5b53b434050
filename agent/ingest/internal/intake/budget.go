package intake

import (
	"sync/atomic"

	"google.golang.org/grpc/codes"
)

const (
	// MinBudget is the smallest budget in bytes of a listener's requests.
	MinBudget = 64 << 20
	// DecompressSlots bounds the requests that a listener decompresses at once. They have arrived whole by then, so a slow
	// producer delays no other.
	DecompressSlots = 2
)

// Budget is a number of units that the requests of a listener share, such as bytes. Acquire never waits: requests that
// wait for each other to release bytes would not end.
type Budget struct{ Left atomic.Int64 }

func (r *Budget) Acquire(n int64) bool {
	if n == 0 || r.Left.Add(-n) >= 0 {
		return true
	}
	r.Left.Add(n)
	return false
}

func (r *Budget) Release(n int64) {
	if n != 0 {
		r.Left.Add(n)
	}
}

// NewBudget returns a budget of n units.
func NewBudget(n int64) *Budget {
	r := new(Budget)
	r.Left.Store(n)
	return r
}

// BudgetFor returns the budget of a listener whose requests have at most largest bytes.
func BudgetFor(largest int) *Budget { return NewBudget(max(MinBudget, 4*int64(largest))) }

// ErrOverBudget rejects a request for which the budget has not enough units.
var ErrOverBudget = &Rejection{
	Code: codes.Unavailable, Reason: ReasonBusy, Event: NoEvent, Retry: DefaultRetry,
	Text: "the listener holds as many bytes of other requests as it may: nothing of this one was stored",
}
