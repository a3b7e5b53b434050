package admin

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"time"
)

// refreshSeconds is how often the page loads itself again.
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

// page is what the template shows: a snapshot, and what follows from it for the reader.
type page struct {
	Status
	Now      time.Time
	Live     error
	Ready    error
	Refresh  int // seconds; 0: the page stays as it is
	Waiting  waiting
	Troubles []trouble
}

// waiting sums up what waits. An event that waits for two destinations counts twice.
type waiting struct {
	Events, Bytes uint64
	Oldest        time.Duration
}

// trouble is a destination that is not simply running.
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
			if d.State != Running {
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

// Anchor names destination j of stream i within the page.
func (p page) Anchor(i, j int) string { return fmt.Sprintf("d%d-%d", i, j) }

// WALBytes and WALMax are the log's figures for the function that writes bytes.
func (p page) WALBytes() uint64 { return uint64(max(p.WAL.Bytes, 0)) }

// WALMax is the most that the log may take.
func (p page) WALMax() uint64 { return uint64(max(p.WAL.MaxBytes, 0)) }

// Since is when the oldest of what waits was appended.
func (p page) Since(d time.Duration) time.Time { return p.Now.Add(-d) }

// Until tells how far t is ahead, or that it is due.
func (p page) Until(t Time) string {
	if ahead := t.Sub(p.Now); ahead > 0 {
		return "in " + Age(ahead)
	}
	return "now"
}

// Kind is the state's style on the page: a word of our own, whatever the source says.
func (s State) Kind() string {
	switch s {
	case Running, Waiting, Blocked, Parked:
		return string(s)
	}
	return "unknown"
}

// weight puts first what needs somebody.
func (s State) weight() int {
	return slices.Index([]State{Blocked, Waiting, Parked}, s)
}

// clockText writes a time so that it stands alone, in UTC like every time that the agent writes.
func clockText(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}
