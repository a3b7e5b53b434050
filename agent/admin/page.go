package admin

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

const (
	// refreshSeconds is the interval at which the page reloads itself.
	refreshSeconds = 5
	// With more than manyStreams streams the healthy ones are folded.
	manyStreams = 10
	// The most streams on one page, with details and in the table of healthy ones. A filter or ?all shows others.
	maxShown  = 50
	maxFolded = 200
)

//go:embed page.html
var pageSource string

//go:embed page.css
var pageStyle []byte

//go:embed page.js
var pageScript []byte

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"age":    func(d time.Duration) string { return Age(d) },
	"bytes":  bytesText,
	"count":  countText,
	"events": eventsText,
	"clock":  timeElement,
	"spans":  spans,
	"until":  func(seconds float64) string { return Age(time.Duration(seconds * float64(time.Second))) },
	"rate":   func(n float32) string { return Rate{Events: float64(n)}.Count() },
}).Parse(pageSource))

// pagePolicy allows the page its own files and requests to its own server, and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// page is the input of the template: a snapshot and the values derived from it.
type page struct {
	Status
	Now         time.Time
	Live        error
	Ready       error
	Refresh     int // seconds; 0: never
	Filter      string
	Actions     bool                     // the server has the actions on destinations
	DeadLetters bool                     // the server has the dead letters
	Tail        func(stream string) bool // the caller may have a live view

	Flow     Flow
	Groups   []ProblemGroup
	Critical int    // number of critical groups
	Rejected uint64 // events that are dead letters, or were
	Shown    []StreamStatus
	Cut      int // streams with problems beyond maxShown
	Folded   []StreamStatus
	Hidden   int // streams beyond maxFolded
	Healthy  int // folded and hidden streams
	History  History
}

// page responds with the status page. ?stream= is a name or a pattern of path.Match, ?all shows all streams.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	p := page{
		Status: s.snapshot(), Live: s.source.Live(), Ready: s.source.Ready(), Now: s.clock(), Refresh: refreshSeconds,
		DeadLetters: s.dead != nil, Actions: s.offers(http.MethodPost, "/v1/destinations/stream/name/retry"), History: s.history(),
		Tail: s.offersTail(r),
	}
	query := r.URL.Query()
	if query.Get("refresh") == "off" {
		p.Refresh = 0
	}
	p.Filter = query.Get("stream")
	p.fill(query)
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, &p); err != nil {
		s.fail(w, fmt.Errorf("render status page: %w", err))
		return
	}
	w.Header().Set("Content-Security-Policy", pagePolicy)
	write(w, http.StatusOK, "text/html; charset=utf-8", b.Bytes())
}

// fill derives the rest of the page from the status.
func (p *page) fill(query url.Values) {
	p.Flow, p.Groups = Sum(p.Streams), p.ProblemGroups()
	for i := range p.Groups {
		if p.Groups[i].Severity == Critical {
			p.Critical++
		}
	}
	for i := range p.Streams {
		for _, d := range p.Streams[i].Destinations {
			p.Rejected += d.Dead.Events
		}
	}
	if p.Filter != "" {
		p.Streams = slices.DeleteFunc(p.Streams, func(s StreamStatus) bool {
			match, _ := path.Match(p.Filter, s.Name) // an invalid pattern matches nothing
			return !match && s.Name != p.Filter
		})
	}
	fold := len(p.Streams) > manyStreams
	for i := range p.Streams {
		switch stream := &p.Streams[i]; {
		case fold && p.Status.Healthy(stream):
			p.Folded = append(p.Folded, *stream)
		default:
			p.Shown = append(p.Shown, *stream)
		}
	}
	p.Healthy = len(p.Folded)
	slices.SortStableFunc(p.Shown, func(a, b StreamStatus) int { return b.weight() - a.weight() })
	if !query.Has("all") {
		p.Shown, p.Cut = cut(p.Shown, maxShown)
		p.Folded, p.Hidden = cut(p.Folded, maxFolded)
	}
}

// cut returns the first streams, and the number of the others.
func cut(streams []StreamStatus, most int) ([]StreamStatus, int) {
	n := min(len(streams), most)
	return streams[:n], len(streams) - n
}

// Traffic is the chart of all streams.
func (p *page) Traffic() *chart { return p.History.traffic() }

// Backlog is the chart of the pending events.
func (p *page) Backlog() *chart { return p.History.backlog() }

// Deliveries is the chart of a destination.
func (p *page) Deliveries(stream, destination string) *chart {
	return p.History.deliveries(Place{stream, destination})
}

// Unsigned is for the template's function bytes.
func (p *page) Unsigned(n int64) uint64 { return uint64(max(n, 0)) }

// WALBytes is the size of the WAL, for the template's function bytes.
func (p *page) WALBytes() uint64 { return p.Unsigned(p.WAL.Bytes) }

// WALRetained is the size of the retained segments.
func (p *page) WALRetained() uint64 { return p.Unsigned(p.WAL.RetainedBytes) }

// WALMax is the limit of WALBytes.
func (p *page) WALMax() uint64 { return p.Unsigned(p.WAL.MaxBytes) }

// soon is the time within which the page warns of a full log.
const soon = 30 * 24 * time.Hour

// Soon reports whether the log is full so soon that the page has the time; 0 seconds are never.
func (p *page) Soon(seconds float64) bool { return seconds > 0 && seconds < soon.Seconds() }

// Since returns the time of d ago.
func (p *page) Since(d time.Duration) time.Time { return p.Now.Add(-d) }

// Until returns the time left to t, or "now".
func (p *page) Until(t Time) string {
	if ahead := t.Sub(p.Now); ahead > 0 {
		return "in " + Age(ahead)
	}
	return "now"
}

// Kind returns the style of the state on the page: one of four states, or "unknown". Paused destinations look like parked ones.
func (s State) Kind() string {
	switch s {
	case Running, Waiting, Blocked, Parked:
		return string(s)
	case Paused:
		return string(Parked)
	}
	return "unknown"
}

// weight sorts streams with a destination that needs an operator first.
func (s *StreamStatus) weight() int {
	worst := -1
	for i := range s.Destinations {
		worst = max(worst, slices.Index([]State{Parked, Paused, Waiting, Blocked}, s.Destinations[i].State))
	}
	return worst
}

// timeElement formats a time in UTC, as everywhere in the agent. The style of its element keeps it on one line.
func timeElement(t time.Time) template.HTML {
	if t.IsZero() {
		return "never"
	}
	return template.HTML(t.UTC().Format("<time>2006-01-02 15:04:05 UTC</time>"))
}

// span is a part of a text. Code stands between backticks in the text.
type span struct {
	Text string
	Code bool
}

func spans(text string) (list []span) {
	for i, part := range strings.Split(text, "`") {
		list = append(list, span{part, i%2 == 1})
	}
	return list
}

// asset serves a file of the page.
func asset(kind string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, kind, body) }
}
