package intake

import (
	"context"
	"testing"
)

// A caller that has gone gets no response, but the outcome of its events is counted.
func TestWatch_TakesTheTicketsOfCallersThatHaveGone(t *testing.T) {
	w := newWatch(nil)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range maxWatched + 1 { // it does not wait for the last one
		w.add(gone, &Submission{})
	}
	if got := len(w.tickets); got != maxWatched {
		t.Errorf("got %d tickets watched, want %d", got, maxWatched)
	}
}
