package ingest

import (
	"sync/atomic"

	"google.golang.org/grpc/codes"
)

const (
	// minRoom is the smallest budget in bytes of a listener's requests.
	minRoom = 64 << 20
	// unpackSlots bounds the requests that a listener decompresses at once. They have arrived whole by then, so a slow
	// producer delays no other.
	unpackSlots = 2
)

// room bounds the bytes that the bodies of one listener hold together, freeBody of each left out.
// Who finds none is refused rather than kept waiting: bodies that wait for each other to grow would
// wait for ever.
type room struct{ left atomic.Int64 }

func (r *room) take(n int64) bool {
	if n == 0 || r.left.Add(-n) >= 0 {
		return true
	}
	r.left.Add(n)
	return false
}

func (r *room) give(n int64) {
	if n != 0 {
		r.left.Add(n)
	}
}

// newRoom returns a budget of n units.
func newRoom(n int64) *room {
	r := new(room)
	r.left.Store(n)
	return r
}

// roomFor returns the budget of a listener whose requests have at most largest bytes.
func roomFor(largest int) *room { return newRoom(max(minRoom, 4*int64(largest))) }

var errNoRoom = &refusal{
	code: codes.Unavailable, reason: ReasonBusy, event: noEvent, retry: retryFull,
	text: "the listener holds as many bytes of other requests as it may: nothing of this one was stored",
}
