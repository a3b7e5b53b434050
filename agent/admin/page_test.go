package admin_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
)

func TestPage_HasPendingEventsAndReasons(t *testing.T) {
	status := sample()
	d := &status.Streams[0].Destinations[0]
	d.State, d.LastError = admin.Waiting, "ServiceUnavailableException: slow down"
	d.RetryAt = admin.Time{Time: now.Add(12 * time.Second)}
	status.WAL.Bytes = 6 << 30
	page := get(t, serve(&source{status: status}, nil), "/")
	wantText(t, page,
		"1,000 events wait", "500 KiB", "the oldest since <time>2026-11-20 12:00:58 UTC</time> (1.5s)",
		`<span class="state waiting">waiting</span>`,
		"ServiceUnavailableException: slow down",
		"Next try in 12s, at <time>2026-11-20 12:01:12 UTC</time>",
		"6.0 GiB of 8.0 GiB in use, 3 segments", `value="75"`,
		"9,000 (4.4 MiB)", `content="5"`, `data-refresh="5"`,
		"<h3>metering</h3>", "<dt>refused, forbidden</dt><dd>5</dd>", "<time>2026-11-20 12:00:02 UTC</time>: identity &#34;metering&#34; may not",
		"3 requests, the last at <time>2026-11-20 12:00:00 UTC</time>, from 192.0.2.7:4711.", "the token is not known here")
}

func TestPage_OfAnEmptyAgent(t *testing.T) {
	page := get(t, serve(&source{}, nil), "/?refresh=off")
	wantText(t, page, "Nothing waits", "No stream has had an event yet")
	if strings.Contains(page, `http-equiv="refresh"`) {
		t.Error("the page loads itself again with refresh=off")
	}
}

func TestPage_ShowsFailedHealth(t *testing.T) {
	status := sample()
	status.WAL.Failed = "sync segment 3: input/output error"
	s := &source{status: status, live: errors.New("the log has failed"), ready: errors.New("failed")}
	wantText(t, get(t, serve(s, nil), "/"),
		"sync segment 3: input/output error", "Events are not accepted: failed", "No progress: the log has failed")
}

func TestPage_SortsBlockedFirst(t *testing.T) {
	status := sample()
	for _, state := range []admin.State{admin.Parked, admin.Waiting, admin.Blocked} {
		d := sampleDestination()
		d.State = state
		status.Streams = append(status.Streams, admin.StreamStatus{Name: string(state) + "-one", Destinations: []admin.DestinationStatus{d}})
	}
	page := get(t, serve(&source{status: status}, nil), "/")
	last := -1
	for _, name := range []string{"blocked-one", "waiting-one", "parked-one", "clicks"} {
		at := strings.Index(page, "<h3>"+name)
		if at <= last {
			t.Errorf("%s is at %d, after %d", name, at, last)
		}
		last = at
	}
}

// Each state has its own text, and the actions that it allows. Forgotten destinations are not shown.
func TestPage_OfParkedAndPausedDestinations(t *testing.T) {
	status := sample()
	for state, want := range map[admin.State]struct{ has, misses []string }{
		admin.Running: {[]string{">Pause<"}, []string{">Retry now<", ">Resume<", ">Forget<"}},
		admin.Blocked: {[]string{"needs a change by an operator", ">Retry now<", ">Pause<"}, []string{">Resume<", ">Forget<"}},
		admin.Paused: {
			[]string{"Paused by an operator, since <time>2026-11-20 12:00:03 UTC</time>.", ">Resume<"},
			[]string{"Not in the configuration", ">Pause<", ">Retry now<", ">Forget<"},
		},
		admin.Parked: {
			[]string{"Not in the configuration any more, since <time>2026-11-20 12:00:07 UTC</time>.", ">Forget<", "Forget 1,000 events for good?"},
			[]string{"Paused by", ">Pause<", ">Retry now<", ">Resume<"},
		},
		admin.Forgotten: {[]string{"This stream has no destination."}, []string{"<article class=\"card parked", `data-destination="archive"`}},
	} {
		d := &status.Streams[0].Destinations[0]
		d.State, d.ParkedAt = state, admin.Time{Time: started.Add(7 * time.Second)}
		page := get(t, admin.New(admin.Options{Source: &source{status: status}, Actions: &acted{}}), "/")
		wantText(t, page, want.has...)
		for _, bad := range want.misses {
			if strings.Contains(page, bad) {
				t.Errorf("%s: got %q in the page", state, bad)
			}
		}
	}
}

// withBlocked makes a status of that many streams; every tenth has a blocked destination.
func withBlocked(n int) (s admin.Status) {
	for i := range n {
		d := sampleDestination()
		stream := admin.StreamStatus{Name: fmt.Sprintf("meter-%04d", i)}
		if i%10 == 0 {
			d.State, d.LastError = admin.Blocked, "access denied"
			s.Problems = append(s.Problems, admin.Problem{Kind: "blocked", Severity: admin.Critical, Stream: stream.Name, Destination: d.Name, Text: "blocked", Remedy: "allow it"})
		}
		stream.Destinations = []admin.DestinationStatus{d}
		s.Streams = append(s.Streams, stream)
	}
	return s
}

// With many streams one cause is one problem, healthy streams are folded, and the page stays small. A filter and ?all show the others.
func TestPage_OfManyStreams(t *testing.T) {
	s := serve(&source{status: withBlocked(1000)}, nil)
	for _, test := range []struct {
		path          string
		cards, folded int
		want          []string
	}{
		{"/", 50, 200, []string{"at 100 destinations, 100,000 pending: access denied", "50 more streams with problems", "900 healthy streams", "700 more; filter by name"}},
		{"/?all", 100, 900, nil},
		{"/?stream=meter-00*", 10, 90, nil},
		{"/?stream=meter-0007", 1, 0, []string{`value="meter-0007"`}},
		{"/?stream=none", 0, 0, []string{"No stream has this name."}},
		{"/?stream=[", 0, 0, []string{"No stream has this name."}},
	} {
		page := get(t, s, test.path)
		if cards, folded := strings.Count(page, "<article"), strings.Count(page, "<tr><td>"); cards != test.cards || folded != test.folded {
			t.Errorf("%s: got %d cards and %d folded streams, want %d and %d", test.path, cards, folded, test.cards, test.folded)
		}
		wantText(t, page, test.want...)
		if test.path == "/" && len(page) > 256<<10 {
			t.Errorf("got a page of %d bytes", len(page))
		}
	}
}

// The newest step is at the right end, and the largest figure at the top.
func TestPage_DrawsHistory(t *testing.T) {
	points := []admin.Point{{In: 10, Out: 5, Pending: 100}, {In: 20, Out: 0, Pending: 50}, {In: 0, Out: 10}}
	s := admin.New(admin.Options{Source: &source{status: sample()}, History: func() admin.History {
		return admin.History{All: points, Destinations: map[admin.Place][]admin.Point{{Stream: "clicks", Destination: "archive"}: points}}
	}})
	wantText(t, get(t, s, "/"),
		`class="in" points="57,12.0 58,0.0 59,24.0"`, `class="out" points="57,18.0 58,24.0 59,12.0"`, `class="pending" points="57,0.0 58,12.0 59,24.0"`,
		`class="out" points="57,12.0 58,24.0 59,0.0"`, "the top is 20 events/s", "the top is 100 events.")
	if page := get(t, serve(&source{status: sample()}, nil), "/"); strings.Contains(page, "<polyline") {
		t.Error("got a chart without history")
	}
}

func TestPage_EscapesHostileTexts(t *testing.T) {
	const hostile = `"><script>alert(1)</script><img src=x onerror='alert(2)'>`
	status := sample()
	status.Agent.NodeName, status.Agent.State, status.Agent.Version = hostile, hostile, hostile
	status.WAL.Failed = hostile
	stream := &status.Streams[0]
	stream.Name = hostile
	d := &stream.Destinations[0]
	d.Name, d.Type, d.State, d.LastError = hostile, hostile, hostile, hostile
	d.Dropped = admin.Dropped{Events: 1, Reasons: admin.Reasons{hostile: 1}}
	refusal := admin.Refusal{At: admin.Time{Time: now}, Why: hostile, From: hostile}
	status.Access.Unknown.LastRefusal = refusal
	status.Access.Identities[0] = admin.IdentityStatus{
		Name: hostile, Refused: admin.RefusedEvents{Events: 1, Reasons: map[string]uint64{hostile: 1}}, LastRefusal: refusal,
	}
	s := &source{status: status, live: errors.New(hostile), ready: errors.New(hostile)}
	page := get(t, serve(s, nil), "/")
	if n := strings.Count(page, "<script"); n != 1 || strings.Contains(page, "<img") {
		t.Errorf("got %d scripts or an image in the page", n)
	}
	wantText(t, page, "&lt;script&gt;")
}

// The page loads its own files alone, and has neither scripts nor styles within.
func TestPage_LoadsItsOwnFiles(t *testing.T) {
	s := serve(&source{status: sample()}, nil)
	w := ask(t, s, "GET", "/")
	files := get(t, s, "/page.css") + get(t, s, "/page.js")
	for _, bad := range []string{"http://", "https://", "@import", "url(", "<style", " style=", " onclick", "innerHTML", "insertAdjacentHTML", "eval("} {
		if strings.Contains(w.Body.String()+files, bad) {
			t.Errorf("got %q in the page", bad)
		}
	}
	wantText(t, w.Body.String(), `<link rel="stylesheet" href="/page.css">`, `<script src="/page.js" defer></script>`)
	if n := strings.Count(w.Body.String(), "<link") + strings.Count(w.Body.String(), "<script"); n != 2 {
		t.Errorf("got %d files", n)
	}
	for header, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
		"X-Content-Type-Options":  "nosniff",
	} {
		if got := w.Header().Get(header); got != want {
			t.Errorf("%s: got %q, want %q", header, got, want)
		}
	}
}

// Problems stand at the top, with cause and remedy.
func TestPage_ShowsProblems(t *testing.T) {
	status := sample()
	status.Problems[0].Remedy = "see `df <volume>`, then free disk space"
	paused := admin.Problem{Kind: "paused", Severity: admin.Warning, Stream: "clicks", Destination: "archive", Text: "paused by an operator"}
	status.Problems = append(status.Problems, paused)
	page := get(t, admin.New(admin.Options{Source: &source{status: status}, Actions: &acted{}}), "/")
	wantText(t, page, "disk_full", "events are not accepted: the disk is full", `data-action="resume">Resume<`,
		"Since <time>2026-11-20 12:00:04 UTC</time>. Remedy: see <code>df &lt;volume&gt;</code>, then free disk space.")
	if strings.Index(page, "Remedy:") > strings.Index(page, "<h3>Disk</h3>") {
		t.Error("the problem stands below the figures")
	}
}

// A destination with a problem is listed once, with a link to its card.
func TestPage_ListsADestinationOnce(t *testing.T) {
	status := sample()
	status.Streams[0].Destinations[0].State = admin.Blocked
	status.Problems = []admin.Problem{{Kind: "blocked", Severity: admin.Critical, Stream: "clicks", Destination: "archive", Text: "blocked with 1,000 events pending: denied"}}
	page := get(t, serve(&source{status: status}, nil), "/")
	wantText(t, page, `<a href="/?stream=clicks">clicks to archive</a>: blocked with 1,000 events pending: denied`)
	if n := strings.Count(page, "clicks to archive"); n != 1 {
		t.Errorf("got %d lines about the destination above the figures, want 1", n)
	}
}
