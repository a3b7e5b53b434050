// Package slots limits how many destinations an agent prepares at once: each reads files, and there may be thousands of them.
//
// A preparation that hangs with its disk holds its slot for a second only, so the others go on.
package slots

import (
	"context"
	"time"
)

const (
	atOnce  = 8
	longest = time.Second // for which one slot is held
)

// Slots has one entry for each slot that is held.
type Slots chan struct{}

// New returns 8 free slots.
func New() Slots { return make(Slots, atOnce) }

// Acquire waits for a free slot. release frees it, and so does the end of a second. Acquire returns false if ctx ends first.
func (s Slots) Acquire(ctx context.Context) (release func(), ok bool) {
	select {
	case s <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	held := time.AfterFunc(longest, func() { <-s })
	return func() {
		if held.Stop() {
			<-s
		}
	}, true
}
