package shipper

import (
	"time"

	"github.com/standpipe/standpipe/wal"
)

// State is how a destination does, in one word.
type State string

// The states of a destination that is configured.
const (
	Running State = "running"
	Waiting State = "waiting" // backing off
	Blocked State = "blocked" // somebody must change something
)

// Wait is what a destination waits for that is not in trouble as a whole.
type Wait string

// The waits.
const (
	WaitNothing   Wait = ""
	WaitPaced     Wait = "paced"     // for its shards' quota
	WaitThrottled Wait = "throttled" // for shards that the service throttles
	WaitBandwidth Wait = "bandwidth" // for the link
)

// Report is what a shipper tells an operator.
type Report struct {
	State     State
	LastError string    // why it is not running; empty when it is
	RetryAt   time.Time // the next try; zero when running
	Since     time.Time // the first failure of this trouble; zero when running

	Waits  Wait    // the one that holds up most
	Pace   float64 // bytes a second that all shards may take now; 0: there is no limit
	Shards int     // that are known; 0: none
	Held   int     // bytes of memory that events occupy, with all that they carry

	// Compression is how many framed bytes there were of late for one that was sent; 0: nothing was
	// compressed yet.
	Compression float64
}

// Report returns how the destination does now.
func (s *Shipper) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report
}

// Stalled tells whether there is work, no error to wait out, and no progress for the time given.
func (s *Shipper) Stalled(patience time.Duration) bool {
	pending := s.opts.Cursor.Stat().Pending.Events
	s.mu.Lock()
	defer s.mu.Unlock()
	return pending > 0 && s.report.State == Running && s.report.Waits == WaitNothing && time.Since(s.progress) > max(patience, 2*s.opts.MaxDelay)
}

func (s *Shipper) moving(now time.Time) {
	s.mu.Lock()
	s.progress = now
	s.mu.Unlock()
}

// tell makes the report from the trouble that needs somebody most: of two of one class, the requests' own
// goes before a lane's.
func (s *Shipper) tell() {
	worst := s.failures
	for _, l := range s.lanes.all {
		if t := l.failures; t != nil && (worst == nil || t.last.Class > worst.last.Class) {
			worst = t
		}
	}
	report := Report{State: Running}
	if worst != nil {
		report = Report{State: Waiting, LastError: worst.last.Error(), RetryAt: worst.delay.until, Since: worst.since}
		if worst.last.Class == Operator {
			report.State = Blocked
		}
	}
	report.Held = s.lanes.held
	s.tellPace(&report, time.Now())
	if s.compressed() {
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

// tellPace adds to the report what the destination waits for, and how fast it may go.
func (s *Shipper) tellPace(r *Report, now time.Time) {
	slowed := false
	if s.batcher.pacer != nil {
		r.Pace, slowed = s.batcher.pacer.Limit(now)
		if shards := s.batcher.pacer.Shards(); shards != nil {
			r.Shards = shards.Len()
		}
	}
	paced := false
	for _, l := range s.lanes.all {
		paced = paced || !l.busy && len(l.queue) > 0 && l.pacing.holds(now)
		slowed = slowed || l.failures != nil && l.failures.last.Class == Throttled
	}
	switch {
	case s.bandwidth.waiting():
		r.Waits = WaitBandwidth
	case slowed && (paced || r.State == Waiting):
		r.Waits = WaitThrottled
	case paced:
		r.Waits = WaitPaced
	}
}

func (s *Shipper) compressed() bool {
	shape := s.opts.Sink.Shape()
	return shape.Compression != Plain
}

// longOutage is after how much trouble a destination is not taken for ready to have all at once.
const longOutage = 10 * time.Second

// recovered: a request got through.
func (s *Shipper) recovered(now time.Time) {
	s.window = min(2*s.window, s.opts.InFlight)
	if s.failures == nil {
		return
	}
	s.window = 1
	for _, l := range s.lanes.all {
		l.failures.release(now)
	}
	if s.failures.last.Class == Transient && s.opts.Link != nil {
		s.bandwidth.reportBack()
	}
	if s.batcher.pacer != nil && now.Sub(s.failures.since) >= longOutage {
		s.batcher.pacer.Restart(now)
	}
	s.opts.Outages.recovered(s, now)
	s.failures, s.calm = nil, now
}

// logLane logs that some records were rejected while others are stored: once, and then once a minute.
func (s *Shipper) logLane(t *failures, now time.Time) {
	s.rejected.note(now, func(failures int) {
		s.opts.Logger.Warn("records of some keys are not taken", "stream", s.stream, "destination", s.opts.Cursor.Name(),
			"class", t.last.Class, "error", t.last.Error(), "failures", failures)
	})
}

// logDead logs an event that was buried: once, and then once a minute.
func (s *Shipper) logDead(e *wal.Event, refusal *Error) {
	offset, size := e.Offset, len(e.Data)
	s.buried.note(time.Now(), func(events int) {
		s.opts.Logger.Warn("event rejected by destination; moved to dead letters", "stream", s.stream, "destination", s.opts.Cursor.Name(),
			"events", events, "offset", offset, "bytes", size, "reason", refusal.Error())
	})
}

// logFault logs a settlement that the log can't take: once, and then once a minute.
func (s *Shipper) logFault(err error) {
	s.faults.note(time.Now(), func(settlements int) {
		s.opts.Logger.Error("internal fault: events were not counted as they were settled", "stream", s.stream, "destination", s.opts.Cursor.Name(),
			"settlements", settlements, "error", err)
	})
}

// say writes the lines that are due. It returns the time until the next line is due.
func (s *Shipper) say(now time.Time) time.Duration {
	return min(s.rejected.say(now), s.buried.say(now), s.faults.say(now))
}

// saidAll writes the lines that were not due, at the end.
func (s *Shipper) saidAll() {
	s.rejected.flush()
	s.buried.flush()
	s.faults.flush()
	s.opts.Outages.leave(s)
}
