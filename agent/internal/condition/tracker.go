package condition

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
)

// Tracker keeps the time at which each problem began. It writes one log line when a problem begins, and one when it
// ends. A problem that returns shortly after its end goes on: a log at its limit that accepts an event now and then is one
// problem. So the line of the end is late by that time. The methods of a Tracker are called by one goroutine.
type Tracker struct {
	logger hclog.Logger
	open   map[identity]*span
}

// span is the time of a problem.
type span struct {
	problem *admin.Problem
	since   admin.Time
	ended   time.Time // zero: the problem is present
}

// identity identifies a problem over time. Problems of the agent can differ by their text
// alone, such as those of two certificates.
type identity struct{ kind, stream, destination, text string }

// calm is the time after which a problem that ended does not go on if it returns.
const calm = 10 * time.Second

// calmOf returns the calm time of a kind. The growth of the WAL is that of a minute, in which segments come and go.
func calmOf(kind string) time.Duration {
	if kind == "full_soon" {
		return time.Minute
	}
	return calm
}

// NewTracker returns a Tracker without problems.
func NewTracker(logger hclog.Logger) *Tracker {
	return &Tracker{logger: logger, open: make(map[identity]*span)}
}

// Update makes found, the result of Find at now, the present problems, and sets their Since.
func (t *Tracker) Update(found []admin.Problem, now time.Time) []admin.Problem {
	for _, s := range t.open {
		if s.ended.IsZero() {
			s.ended = now
		}
	}
	for i := range found {
		p := &found[i]
		id := identityOf(p)
		s := t.open[id]
		if s != nil && now.Sub(s.ended) >= calmOf(p.Kind) {
			t.end(id, s)
			s = nil
		}
		if s == nil {
			s = &span{since: admin.Time{Time: now}}
			t.open[id] = s
			t.log(p, "problem", "text", p.Text, "remedy", p.Remedy)
		}
		s.problem, s.ended = p, time.Time{}
		p.Since = s.since
	}
	for id, s := range t.open {
		if !s.ended.IsZero() && now.Sub(s.ended) >= calmOf(id.kind) {
			t.end(id, s)
		}
	}
	return found
}

func (t *Tracker) end(id identity, s *span) {
	delete(t.open, id)
	t.log(s.problem, "problem is over", "after", s.ended.Sub(s.since.Time).Round(time.Second))
}

func identityOf(p *admin.Problem) identity {
	id := identity{kind: p.Kind, stream: p.Stream, destination: p.Destination}
	if p.Kind == "certificate_expiring" || p.Kind == "certificate_expired" {
		id.text = p.Text
	}
	return id
}

// log writes the line of a problem that begins or ends.
func (t *Tracker) log(p *admin.Problem, line string, more ...any) {
	for _, k := range kinds {
		if k.name == p.Kind && k.logged {
			return
		}
	}
	fields := []any{"kind", p.Kind}
	if p.Stream != "" {
		fields = append(fields, "stream", p.Stream, "destination", p.Destination)
	}
	write := t.logger.Warn
	if more[0] == "after" {
		write = t.logger.Info
	}
	write(line, append(fields, more...)...)
}
