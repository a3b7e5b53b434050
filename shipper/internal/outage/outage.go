package outage

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
	"github.com/standpipe/standpipe/wal"
)

const (
	// A lasting outage is logged again after firstSummary, then after twice as long each time, up to lastSummary.
	firstSummary = time.Minute
	lastSummary  = time.Hour
)

// Log is the log that the destinations ship; a *wal.Log is one.
type Log interface {
	Flow() uint64   // bytes of all payloads that were appended since the log was opened
	Stat() wal.Stat // its size and its limit
}

// Member is a shipper, as its outages show it. Endpoint names the service that gets its requests: members with one endpoint
// share its outages.
type Member struct {
	Endpoint, Stream, Destination string
	Pending                       func() uint64 // events

	cause *cause // of the outage that it is part of; guarded by Outages
}

// Outages writes the log lines about destinations that take no records. Destinations that one cause stops, such as an
// endpoint that does not answer, are one outage: a line when it begins, summaries at growing intervals while it lasts, and
// a line when all of them take records again. Shippers share it; its methods may be called from any goroutine.
type Outages struct {
	log    Log
	logger hclog.Logger

	mu  sync.Mutex
	all map[cause]*outage
}

// New returns one for the shippers of a log.
func New(log Log, logger hclog.Logger) *Outages {
	return &Outages{log: log, logger: logger, all: make(map[cause]*outage)}
}

// cause identifies the failure that the destinations of an outage share.
type cause struct{ endpoint, what string }

// causeOf separates errors of a single destination, such as a missing stream, from errors on the way to all
// destinations of an endpoint. For the latter, only the endpoint matters. An error with a remedy, such as expired
// credentials, is of the second kind until it has lasted; then its code matters, since its text may have the time.
func causeOf(endpoint string, t *backoff.Failures) cause {
	switch {
	case t.Last.Class == backoff.Operator:
		return cause{endpoint, t.Last.Error()}
	case t.Blocked():
		return cause{endpoint, t.Last.Code}
	}
	return cause{endpoint, ""}
}

// outage is a time in which destinations take no records.
type outage struct {
	members  map[*Member]bool
	most     int // members at once
	since    time.Time
	failures int
	next     time.Time // when it is logged again
	every    time.Duration
	flow     uint64 // bytes that were appended to the log before it
}

// Failed notes a failure of all requests of m.
func (o *Outages) Failed(m *Member, t *backoff.Failures) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now, c := t.At, causeOf(m.Endpoint, t)
	if m.cause != nil && *m.cause != c {
		o.leaveLocked(m)
	}
	m.cause = &c
	out := o.all[c]
	if out == nil {
		out = &outage{members: make(map[*Member]bool), since: now, every: firstSummary, next: now.Add(firstSummary), flow: o.log.Flow()}
		o.all[c] = out
		o.logger.Warn("the destination does not take records", "endpoint", c.endpoint, "stream", m.Stream, "destination", m.Destination,
			"class", classOf(t), "error", t.Text(), "retry", time.Until(t.Delay.Until).Round(time.Millisecond))
	}
	out.failures++
	out.members[m] = true
	out.most = max(out.most, len(out.members))
	if !now.Before(out.next) {
		o.summarizeLocked(out, c, t, now)
	}
}

// classOf returns the class of the last failure, or Operator once an operator must act on it.
func classOf(t *backoff.Failures) backoff.Class {
	if t.Blocked() {
		return backoff.Operator
	}
	return t.Last.Class
}

// longForecast is the time from which on it does not matter when the log is full.
const longForecast = 365 * 24 * time.Hour

// summarizeLocked logs the state of an outage that goes on.
func (o *Outages) summarizeLocked(out *outage, c cause, t *backoff.Failures, now time.Time) {
	out.every = min(2*out.every, lastSummary)
	out.next = now.Add(out.every)
	var waiting uint64
	for m := range out.members {
		waiting += m.Pending()
	}
	fields := []any{"endpoint", c.endpoint, "destinations", len(out.members), "for", now.Sub(out.since).Round(time.Second),
		"failures", out.failures, "events_waiting", waiting, "error", t.Text()}
	if left, grows := o.untilFull(out, now); grows && left < longForecast {
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

// Recovered notes that a request of m got through.
func (o *Outages) Recovered(m *Member, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if m.cause == nil {
		return
	}
	c := *m.cause
	out := o.all[c]
	if o.leaveLocked(m); len(out.members) == 0 {
		o.logger.Info("the destination takes records again", "endpoint", c.endpoint, "stream", m.Stream, "destination", m.Destination,
			"destinations", out.most, "after", now.Sub(out.since).Round(time.Millisecond), "failures", out.failures)
	}
}

// Leave takes m out of its outage: it ships no more.
func (o *Outages) Leave(m *Member) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leaveLocked(m)
}

func (o *Outages) leaveLocked(m *Member) {
	if m.cause == nil {
		return
	}
	out := o.all[*m.cause]
	if delete(out.members, m); len(out.members) == 0 {
		delete(o.all, *m.cause)
	}
	m.cause = nil
}
