package ranged

import (
	"time"

	"github.com/standpipe/standpipe/shipper"
)

// Report returns the destination's present state.
func (s *Shipper) Report() shipper.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report
}

// Stalled reports whether events are pending, nothing delays them, and none has moved for the given time. Events of a range
// that waits for more events are delayed.
func (s *Shipper) Stalled(after time.Duration) bool {
	pending := s.opts.Cursor.Stat().Pending.Events
	s.mu.Lock()
	defer s.mu.Unlock()
	return pending > 0 && s.report.State == shipper.Running && s.report.Waits == shipper.WaitNothing && !s.resting &&
		time.Since(s.progress) > max(after, 2*s.opts.MaxDelay, 2*s.opts.Retry.Timeout)
}

// moving notes that events moved.
func (s *Shipper) moving() {
	s.mu.Lock()
	s.progress = time.Now()
	s.mu.Unlock()
}

// rest notes whether only time or new events continue the range.
func (s *Shipper) rest(rests bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resting && !rests {
		s.progress = time.Now()
	}
	s.resting = rests
}

// updateReport makes the report from the failures. A destination that needs an operator is blocked until the step that failed
// has succeeded. After any other failure it runs again once it takes events.
func (s *Shipper) updateReport() {
	report := shipper.Report{State: shipper.Running, Held: s.held()}
	if f := s.failures; f != nil && (f.Last.Class == shipper.Operator || !s.gained) {
		report.State, report.LastError, report.RetryAt, report.Since = shipper.Waiting, f.Last.Error(), f.Delay.Until, f.Since
		if f.Last.Class == shipper.Operator {
			report.State = shipper.Blocked
		}
	}
	if s.inLine {
		report.Waits = shipper.WaitBandwidth
	}
	if s.unsynced != "" {
		report.State, report.LastError, report.RetryAt = shipper.Waiting, s.unsynced, time.Now().Add(readAgain)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	calm := report.State == shipper.Running && report.Waits == shipper.WaitNothing
	if calm && (s.report.State != shipper.Running || s.report.Waits != shipper.WaitNothing) {
		s.progress = time.Now()
	}
	s.report = report
}
