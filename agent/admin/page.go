package admin

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"time"
)

// refreshSeconds is the interval at which the page reloads itself.
const refreshSeconds = 5

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"age":    func(d time.Duration) string { return Age(d) },
	"bytes":  bytesText,
	"count":  countText,
	"events": eventsText,
	"clock":  clockText,
}).Parse(pageSource))

// page is the input of the template: a snapshot and the values derived from it.
type page struct {
	Status
	Now      time.Time
	Live     error
	Ready    error
	Refresh  int // seconds; 0: never
	Waiting  waiting
	Troubles []trouble
}

// waiting is the sum of the pending events. An event that is pending at two destinations counts twice.
type waiting struct {
	Events, Bytes uint64
	Oldest        time.Duration
}

// trouble is a destination in another state than running that no problem names.
type trouble struct {
	Anchor string
	Stream string
	DestinationStatus
}

func renderPage(s Status, live, ready error, now time.Time, refresh int) ([]byte, error) {
	p := page{Status: s, Now: now, Live: live, Ready: ready, Refresh: refresh}
	for i, stream := range s.Streams {
		for j, d := range stream.Destinations {
			p.Waiting.add(d.Pending)
			if d.State != Running && !s.hasProblem(stream.Name, d.Name) {
				p.Troubles = append(p.Troubles, trouble{p.Anchor(i, j), stream.Name, d})
			}
		}
	}
	slices.SortStableFunc(p.Troubles, func(a, b trouble) int { return a.State.weight() - b.State.weight() })
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("render status page: %w", err)
	}
	return b.Bytes(), nil
}

func (w *waiting) add(p Pending) {
	w.Events += p.Events
	w.Bytes += p.Bytes
	w.Oldest = max(w.Oldest, p.Oldest())
}

// hasProblem reports whether a problem names the destination.
func (s *Status) hasProblem(stream, destination string) bool {
	return slices.ContainsFunc(s.Problems, func(p Problem) bool { return p.Stream == stream && p.Destination == destination })
}

// AnchorOf names the destination within the page; empty: it is not there.
func (p page) AnchorOf(stream, destination string) string {
	for i := range p.Streams {
		for j := range p.Streams[i].Destinations {
			if p.Streams[i].Name == stream && p.Streams[i].Destinations[j].Name == destination {
				return p.Anchor(i, j)
			}
		}
	}
	return ""
}

// Anchor names destination j of stream i within the page.
func (p page) Anchor(i, j int) string { return fmt.Sprintf("d%d-%d", i, j) }

// WALBytes is the size of the WAL, for the template's function bytes.
func (p page) WALBytes() uint64 { return uint64(max(p.WAL.Bytes, 0)) }

// WALMax is the limit of WALBytes.
func (p page) WALMax() uint64 { return uint64(max(p.WAL.MaxBytes, 0)) }

// Since returns the time of d ago.
func (p page) Since(d time.Duration) time.Time { return p.Now.Add(-d) }

// Until returns the time left to t, or "now".
func (p page) Until(t Time) string {
	if ahead := t.Sub(p.Now); ahead > 0 {
		return "in " + Age(ahead)
	}
	return "now"
}

// Kind returns the state's style on the page: one of the known states, or "unknown".
func (s State) Kind() string {
	switch s {
	case Running, Waiting, Blocked, Parked:
		return string(s)
	}
	return "unknown"
}

// weight sorts the states that need an operator first.
func (s State) weight() int {
	return slices.Index([]State{Blocked, Waiting, Parked}, s)
}

// clockText formats a time in UTC, as everywhere in the agent.
func clockText(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}
