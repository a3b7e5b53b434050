package access_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/agent/internal/access"
)

// paced is the sender of an identity with limits.
func paced(t *testing.T, events, bytes int64) *access.Sender {
	t.Helper()
	r, _ := register(t, access.Identity{Name: "a", UIDs: []int64{0}, MaxEvents: events, MaxBytes: bytes})
	s, err := guard(t, r, "", nil).Who(&access.Shown{Peer: &access.Peer{}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func expectWait(t *testing.T, s *access.Sender, events, bytes int, want time.Duration) {
	t.Helper()
	if got := s.Take(events, bytes); got.Round(time.Millisecond) != want {
		t.Errorf("%d events of %d bytes: got a wait of %s, want %s", events, bytes, got, want)
	}
}

func TestBudget_OneSecondAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := paced(t, 10, 0)
		expectWait(t, s, 4, 1<<30, 0)
		expectWait(t, s, 6, 1<<30, 0)
		expectWait(t, s, 1, 1, 100*time.Millisecond)
		time.Sleep(500 * time.Millisecond)
		expectWait(t, s, 6, 1, 100*time.Millisecond)
		expectWait(t, s, 5, 1, 0)
		time.Sleep(time.Hour)
		expectWait(t, s, 10, 1, 0)
		expectWait(t, s, 1, 1, 100*time.Millisecond)
	})
}

// A batch that is larger than the bucket must not be rejected for ever.
func TestBudget_BatchLargerThanOneSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := paced(t, 0, 1000)
		expectWait(t, s, 1, 1, 0)
		expectWait(t, s, 1, 3000, time.Millisecond)
		time.Sleep(time.Millisecond)
		expectWait(t, s, 1, 3000, 0)
		expectWait(t, s, 1, 1, 2001*time.Millisecond)
		time.Sleep(2001 * time.Millisecond)
		expectWait(t, s, 1, 1, 0)
	})
}

// A batch that is over one limit takes nothing of the other.
func TestBudget_TakesFromBothOrNeither(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := paced(t, 10, 100)
		expectWait(t, s, 1, 100, 0)
		for range 100 {
			expectWait(t, s, 1, 50, 500*time.Millisecond)
		}
		expectWait(t, s, 9, 0, 0)
	})
}

// The shortest wait is a millisecond, even if less time is enough.
func TestBudget_ShortestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := paced(t, 10_000, 0)
		expectWait(t, s, 10_000, 0, 0)
		expectWait(t, s, 1, 0, time.Millisecond)
		expectWait(t, s, 1, 0, time.Millisecond)
		time.Sleep(time.Millisecond)
		expectWait(t, s, 10, 0, 0)
	})
}

func TestBudget_WithoutLimits(t *testing.T) {
	s := paced(t, 0, 0)
	expectWait(t, s, 1<<30, math.MaxInt, 0)
}
