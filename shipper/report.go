package shipper

import (
	"time"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
)

// State is the state of a destination in one word.
type State string

// The states of a destination that is configured.
const (
	Running State = "running"
	Waiting State = "waiting" // backing off
	Blocked State = "blocked" // an operator must change something
)

// Wait is the reason for which a running destination waits.
type Wait string

// The waits.
const (
	WaitNothing   Wait = ""
	WaitPaced     Wait = "paced"     // for its shards' quota
	WaitThrottled Wait = "throttled" // for shards that the service throttles
	WaitBandwidth Wait = "bandwidth" // for the link
)

// Report is a shipper's state for operators.
type Report struct {
	State     State
	LastError string    // the reason why it is not running; empty when it is
	RetryAt   time.Time // the next try; zero when running
	Since     time.Time // the first failure since the last success; zero when running

	Waits  Wait    // the one that holds up most
	Pace   float64 // bytes a second that all shards may take now; 0: there is no limit
	Shards int     // that are known; 0: none
	Held   int     // bytes of memory that events occupy, with all that they carry

	// Compression is the number of framed bytes for one that was sent, of recent records; 0: none was compressed yet.
	Compression float64

	// Newest is the time of the newest delivered event, by offset, in Unix nanoseconds; 0: none was delivered yet.
	Newest int64

	// CatchingUp is the end of the outage of at least 10 s whose backlog is not settled yet; zero: there is none.
	CatchingUp time.Time
	Sent       uint64 // bytes of the bodies of all requests since the start, repeated ones included
}

// Report returns the destination's present state.
func (s *Shipper) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report
}

// Stalled reports whether events are pending, nothing delays them, and none has moved for the given time.
func (s *Shipper) Stalled(after time.Duration) bool {
	pending := s.opts.Cursor.Stat().Pending.Events
	s.mu.Lock()
	defer s.mu.Unlock()
	return pending > 0 && s.report.State == Running && s.report.Waits == WaitNothing && time.Since(s.progress) > max(after, 2*s.opts.MaxDelay)
}

// moving notes that events moved.
func (s *Shipper) moving(now time.Time) {
	s.mu.Lock()
	s.progress = now
	s.mu.Unlock()
}

// updateReport makes the report from the failures of the highest class; between two of one class, those of all requests
// go before a lane's.
func (s *Shipper) updateReport() {
	worst := s.failures
	for _, l := range s.lanes.all {
		if t := l.failures; t != nil && (worst == nil || t.Last.Class > worst.Last.Class) {
			worst = t
		}
	}
	report := Report{State: Running}
	if worst != nil {
		report = Report{State: Waiting, LastError: worst.Text(), RetryAt: worst.Delay.Until, Since: worst.Since}
		if worst.Blocked() {
			report.State = Blocked
		}
	}
	report.Held, report.Newest = s.lanes.held, s.newest.time
	report.CatchingUp, report.Sent = s.turns.Since, s.sent
	s.reportPace(&report, time.Now())
	if shape := s.opts.Sink.Shape(); shape.Compression != Plain {
		report.Compression = s.batcher.ratio.Value()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	calm := report.State == Running && report.Waits == WaitNothing
	if calm && (s.report.State != Running || s.report.Waits != WaitNothing) {
		s.progress = time.Now()
	}
	s.report = report
}

// reportPace adds the pace, and the reason of a wait, to the report.
func (s *Shipper) reportPace(r *Report, now time.Time) {
	slowed := false
	if s.batcher.pacer != nil {
		r.Pace, slowed = s.batcher.pacer.Limit(now)
		if shards := s.batcher.pacer.Shards(); shards != nil {
			r.Shards = shards.Len()
		}
	}
	paced := false
	for _, l := range s.lanes.all {
		paced = paced || !l.busy && len(l.queue) > 0 && l.pacing.Holds(now)
		slowed = slowed || l.failures != nil && l.failures.Last.Class == Throttled
	}
	switch {
	case s.bandwidth.hold(now).Why == backoff.InLine:
		r.Waits = WaitBandwidth
	case slowed && (paced || r.State == Waiting):
		r.Waits = WaitThrottled
	case paced:
		r.Waits = WaitPaced
	}
}
