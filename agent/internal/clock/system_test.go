package clock_test

import (
	"context"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/internal/clock"
)

// The clocks of this host have plausible values, and waiting for steps ends with its context.
func TestHost(t *testing.T) {
	s := clock.Host()
	if s.BootID == "" || s.Boot() < 0 || s.Boot() > 20*365*24*time.Hour {
		t.Errorf("got the boot %q and %s since then", s.BootID, s.Boot())
	}
	if at := s.Boot(); s.Boot() < at {
		t.Error("the time since the boot falls")
	}
	s.Synchronized() // its result depends on the host
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Steps(ctx, make(chan struct{}, 1)) }()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("got %v, want nil", err)
	}
}
