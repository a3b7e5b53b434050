package agent

import (
	"maps"

	"github.com/standpipe/standpipe/agent/internal/clock"
)

// hostClock returns the clocks of the host. Tests replace it.
var hostClock = clock.Host

func (a *Agent) newClock(dataDir string) *clock.Keeper {
	return clock.New(dataDir, clock.Options{
		System: hostClock(), Built: clock.BuildTime(), Logger: a.logger.Named("clock"), Stepped: a.clockStepped, Corrected: a.timesCorrected,
	})
}

// clockStepped lets every destination that waits try at once: its certificates, signatures and credentials may be valid now.
func (a *Agent) clockStepped() {
	for _, r := range a.streams.all() {
		r.retryNow()
	}
	a.monitor.LookSoon()
}

// timesCorrected restarts every destination: its shipper may hold events with the times from before.
func (a *Agent) timesCorrected() {
	if !a.stopping.isSet() {
		a.streams.restart()
	}
	a.monitor.LookSoon()
}

// restart replaces every route by a new one, which reads its events again.
func (s *streams) restart() {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.closed {
		return
	}
	for name := range maps.Clone(s.byName) {
		for at := range s.byName[name].routes {
			if err := s.replaceLocked(name, s.byName[name], at, func() {}); err != nil {
				s.logger.Warn("destination not restarted; it may send times that are not corrected", "stream", name, "error", err)
			}
		}
	}
}
