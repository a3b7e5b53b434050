package agent

import (
	"testing"

	"github.com/standpipe/standpipe/agent/internal/clock"
)

// SetHostClock sets the clocks of the agents that are opened until the test ends.
func SetHostClock(t *testing.T, s clock.System) {
	before := hostClock
	hostClock = func() clock.System { return s }
	t.Cleanup(func() { hostClock = before })
}

// Checkpoint makes the last settlements durable.
func (a *Agent) Checkpoint() error { return a.streams.checkpoint() }

// SetLink sets the link up or down, as the admin listener does.
func (a *Agent) SetLink(up bool) { a.uplink.SetLink(up) }

// LookSoon requests a snapshot of the monitor.
func (a *Agent) LookSoon() { a.monitor.LookSoon() }

// TentativeStreams returns the number of streams whose first event is not stored yet.
func (a *Agent) TentativeStreams() (n int) {
	a.streams.mu.RLock()
	defer a.streams.mu.RUnlock()
	for _, open := range a.streams.byName {
		if open.tentative {
			n++
		}
	}
	return n
}
