// Package budget has the budget of all that the requests of a listener hold together: bytes, decoded messages, requests in
// progress.
//
// Acquire never waits: two requests that wait for each other's units would not end, so the listener rejects the second one.
// The log and the client wait, in order and until a context ends; their budgets are golang.org/x/sync/semaphore.
//
// A Budget is safe for concurrent use.
package budget

import "sync/atomic"

// Budget is a number of units that are acquired and released.
type Budget struct{ left atomic.Int64 }

// New returns a budget of n units.
func New(n int64) *Budget {
	b := new(Budget)
	b.left.Store(n)
	return b
}

// Acquire acquires n units, or reports false and changes nothing.
func (b *Budget) Acquire(n int64) bool {
	if n <= 0 || b.left.Add(-n) >= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

// Release releases n acquired units.
func (b *Budget) Release(n int64) {
	if n != 0 {
		b.left.Add(n)
	}
}

// Resize acquires or releases units so that *held becomes need, or reports false and changes nothing.
func (b *Budget) Resize(held *int64, need int64) bool {
	if need > *held && !b.Acquire(need-*held) {
		return false
	}
	if need < *held {
		b.Release(*held - need)
	}
	*held = need
	return true
}

// Left returns the units that nobody holds.
func (b *Budget) Left() int64 { return b.left.Load() }
