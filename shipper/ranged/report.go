package ranged

import (
	"sync"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

// reporter has the state that other goroutines read.
type reporter struct {
	mu       sync.Mutex // guards the fields below
	progress time.Time  // when an event moved
	resting  bool       // all events of the log are in the range, which waits for more
	report   shipper.Report
}

// Report returns the destination's present state.
func (s *Shipper) Report() shipper.Report {
	s.reporter.mu.Lock()
	defer s.reporter.mu.Unlock()
	return s.reporter.report
}

// Stalled reports whether events are pending, nothing delays them, and none has moved for the given time. Events of a range
// that waits for more events are delayed.
func (s *Shipper) Stalled(after time.Duration) bool {
	pending := s.opts.Cursor.Stat().Pending.Events
	r := &s.reporter
	r.mu.Lock()
	defer r.mu.Unlock()
	return pending > 0 && r.report.State == shipper.Running && r.report.Waits == shipper.WaitNothing && !r.resting &&
		time.Since(r.progress) > max(after, 2*s.opts.MaxDelay, 2*s.opts.Retry.Timeout)
}

// moving notes that events moved.
func (r *reporter) moving() {
	r.mu.Lock()
	r.progress = time.Now()
	r.mu.Unlock()
}

// rest notes whether only time or new events continue the range.
func (r *reporter) rest(rests bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.resting && !rests {
		r.progress = time.Now()
	}
	r.resting = rests
}

// set replaces the report. A wait or a failure that ends counts as progress.
func (r *reporter) set(report shipper.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	calm := report.State == shipper.Running && report.Waits == shipper.WaitNothing
	if calm && (r.report.State != shipper.Running || r.report.Waits != shipper.WaitNothing) {
		r.progress = time.Now()
	}
	r.report = report
}

// updateReport makes the report from the failures. A destination that needs an operator is blocked until the step that failed
// has succeeded. After any other failure it runs again once it takes events.
func (s *Shipper) updateReport() {
	if took, long := s.turns.Through(s.opts.Cursor, time.Now()); long {
		s.opts.Logger.Info("the destination has caught up", "stream", s.stream, "destination", s.opts.Cursor.Name(), "after", took.Round(time.Millisecond))
	}
	report := shipper.Report{State: shipper.Running, Held: s.queue.memory(), Newest: s.newest, CatchingUp: s.turns.Since, Sent: s.sent}
	if f := s.failures; f != nil && (f.Blocked() || !s.gained) {
		report.State, report.LastError, report.RetryAt, report.Since = shipper.Waiting, f.Text(), f.Delay.Until, f.Since
		if f.Blocked() {
			report.State = shipper.Blocked
		}
	}
	if s.inLine {
		report.Waits = shipper.WaitBandwidth
	}
	if s.unsynced != "" {
		report.State, report.LastError, report.RetryAt = shipper.Waiting, s.unsynced, time.Now().Add(readAgain)
	}
	s.reporter.set(report)
}
