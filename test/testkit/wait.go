package testkit

import (
	"testing"
	"time"
)

// Must ends the test if err is not nil.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience is the shortest time for a condition. A machine that is busy with other tests takes many times as long as usual.
const patience = 3 * time.Minute

// Eventually calls check until it returns nil. After limit, and not before three minutes, the test fails with the last error.
func Eventually(t testing.TB, limit time.Duration, check func() error) {
	t.Helper()
	limit = max(limit, patience)
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %s: %v", limit, err)
		}
	}
}
