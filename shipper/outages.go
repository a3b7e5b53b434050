package shipper

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// A lasting outage is logged again after firstSummary, then after twice as long each time, up to lastSummary.
	firstSummary = time.Minute
	lastSummary  = time.Hour
)

// Outages writes the log lines about destinations that take no records. Destinations that one cause stops, such as an
// endpoint that does not answer, are one outage: a line when it begins, summaries at growing intervals while it lasts, and
// a line when all of them take records again. Shippers share it; its methods may be called from any goroutine.
type Outages struct {
	log    Source
	logger hclog.Logger

	mu  sync.Mutex
	all map[cause]*outage
}

// NewOutages returns one for the shippers of a log.
func NewOutages(log Source, logger hclog.Logger) *Outages {
	return &Outages{log: log, logger: logger, all: make(map[cause]*outage)}
}

// cause identifies the failure that the destinations of an outage share.
type cause struct{ endpoint, what string }

// causeOf separates errors of a single destination, such as a missing stream, from errors on the way to all
// destinations of an endpoint. For the latter, only the endpoint matters.
func causeOf(endpoint string, e *Error) cause {
	if e.Class == Operator {
		return cause{endpoint, e.Error()}
	}
	return cause{endpoint, ""}
}

// outage is a time in which destinations take no records.
type outage struct {
	members  map[*Shipper]bool
	most     int // members at once
	since    time.Time
	failures int
	next     time.Time // when it is logged again
	every    time.Duration
	flow     uint64 // bytes that were appended to the log before it
}

// failed notes a failure of all that s sends.
func (o *Outages) failed(s *Shipper, t *failures) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now, c := t.at, causeOf(s.opts.Endpoint, t.last)
	if s.outage != nil && *s.outage != c {
		o.leaveLocked(s)
	}
	s.outage = &c
	out := o.all[c]
	if out == nil {
		out = &outage{members: make(map[*Shipper]bool), since: now, every: firstSummary, next: now.Add(firstSummary), flow: o.log.Flow()}
		o.all[c] = out
		o.logger.Warn("the destination does not take records", "endpoint", c.endpoint, "stream", s.stream, "destination", s.opts.Cursor.Name(),
			"class", t.last.Class, "error", t.last.Error(), "retry", time.Until(t.delay.until).Round(time.Millisecond))
	}
	out.failures++
	out.members[s] = true
	out.most = max(out.most, len(out.members))
	if !now.Before(out.next) {
		o.summarizeLocked(out, c, t, now)
	}
}

// summarizeLocked logs the state of an outage that goes on.
func (o *Outages) summarizeLocked(out *outage, c cause, t *failures, now time.Time) {
	out.every = min(2*out.every, lastSummary)
	out.next = now.Add(out.every)
	var waiting uint64
	for s := range out.members {
		waiting += s.opts.Cursor.Stat().Pending.Events
	}
	fields := []any{"endpoint", c.endpoint, "destinations", len(out.members), "for", now.Sub(out.since).Round(time.Second),
		"failures", out.failures, "events_waiting", waiting, "error", t.last.Error()}
	if left, grows := o.untilFull(out, now); grows {
		fields = append(fields, "log_full_in", left.Round(time.Second))
	}
	o.logger.Warn("destinations still do not take records", fields...)
}

// untilFull returns when the log is full if it grows as it has grown since the outage began.
func (o *Outages) untilFull(out *outage, now time.Time) (left time.Duration, grows bool) {
	st, grown := o.log.Stat(), o.log.Flow()-out.flow
	elapsed := now.Sub(out.since)
	if grown == 0 || elapsed <= 0 || st.MaxBytes <= st.Bytes {
		return 0, grown > 0
	}
	seconds := float64(st.MaxBytes-st.Bytes) * elapsed.Seconds() / float64(grown)
	return time.Duration(min(seconds, (10*365*24*time.Hour).Seconds()) * float64(time.Second)), true
}

// recovered notes that s got through.
func (o *Outages) recovered(s *Shipper, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.outage == nil {
		return
	}
	c := *s.outage
	out := o.all[c]
	if o.leaveLocked(s); len(out.members) == 0 {
		o.logger.Info("the destination takes records again", "endpoint", c.endpoint, "stream", s.stream, "destination", s.opts.Cursor.Name(),
			"destinations", out.most, "after", now.Sub(out.since).Round(time.Millisecond), "failures", out.failures)
	}
}

// leave takes s out of its outage: it ships no more.
func (o *Outages) leave(s *Shipper) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leaveLocked(s)
}

func (o *Outages) leaveLocked(s *Shipper) {
	if s.outage == nil {
		return
	}
	out := o.all[*s.outage]
	if delete(out.members, s); len(out.members) == 0 {
		delete(o.all, *s.outage)
	}
	s.outage = nil
}
