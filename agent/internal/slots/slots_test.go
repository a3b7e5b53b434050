package slots_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/agent/internal/slots"
)

// Eight hold a slot at once. One that hangs holds it for a second, and its late release frees none that another holds.
func TestSlots_OneThatHangsHoldsUpTheOthersForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := slots.New()
		var late []func()
		for range 8 {
			release, ok := s.Acquire(t.Context())
			if !ok {
				t.Fatal("got no slot of eight")
			}
			late = append(late, release)
		}
		soon, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
		defer cancel()
		if _, ok := s.Acquire(soon); ok {
			t.Fatal("got a ninth slot")
		}
		for range 8 {
			if _, ok := s.Acquire(t.Context()); !ok {
				t.Fatal("got no slot after a second")
			}
		}
		for _, release := range late {
			release()
		}
		soon, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, ok := s.Acquire(soon); ok {
			t.Error("a late release freed the slot of another")
		}
	})
}

// A slot that is released is free for the next.
func TestSlots_ReleaseFreesTheSlot(t *testing.T) {
	s := slots.New()
	for range 100 {
		release, ok := s.Acquire(t.Context())
		if !ok {
			t.Fatal("got no slot")
		}
		release()
	}
	ended, cancel := context.WithCancel(t.Context())
	for range 8 {
		s.Acquire(t.Context())
	}
	cancel()
	if _, ok := s.Acquire(ended); ok {
		t.Error("got a slot for a caller that has ended")
	}
}
