package condition

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
)

// Tracker keeps the time at which each problem began. It writes one log line when a problem begins, and one when it
// ends. Its methods are called by one goroutine.
type Tracker struct {
	logger hclog.Logger
	open   map[identity]*admin.Problem
}

// identity identifies a problem over time. Problems of the agent can differ by their text
// alone, such as those of two certificates.
type identity struct{ kind, stream, destination, text string }

// NewTracker returns a Tracker without problems.
func NewTracker(logger hclog.Logger) *Tracker {
	return &Tracker{logger: logger, open: make(map[identity]*admin.Problem)}
}

// Update makes found, the result of Find at now, the present problems, and sets their Since.
func (t *Tracker) Update(found []admin.Problem, now time.Time) []admin.Problem {
	before := t.open
	t.open = make(map[identity]*admin.Problem, len(found))
	for i := range found {
		p, id := &found[i], identityOf(&found[i])
		old := before[id]
		if old == nil {
			p.Since = admin.Time{Time: now}
			t.log(p, "problem", "text", p.Text, "remedy", p.Remedy)
		} else {
			p.Since = old.Since
			delete(before, id)
		}
		t.open[id] = p
	}
	for _, p := range before {
		t.log(p, "problem is over", "after", now.Sub(p.Since.Time).Round(time.Second))
	}
	return found
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
