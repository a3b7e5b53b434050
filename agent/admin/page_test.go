package admin_test

import (
	"errors"
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
		"1,000 events wait", "500 KiB", "the oldest since 2026-11-20 12:00:58 UTC (1.5s)",
		`clicks to archive</a> is <span class="state waiting">waiting</span>`,
		"ServiceUnavailableException: slow down",
		"Next try in 12s, at 2026-11-20 12:01:12 UTC",
		"6.0 GiB of 8.0 GiB in use, 3 segments", `value="75"`,
		"9,000 (4.4 MiB)", `content="5"`,
		"<h3>metering</h3>", "<dt>refused, forbidden</dt><dd>5</dd>", "2026-11-20 12:00:02 UTC: identity &#34;metering&#34; may not",
		"3 requests, the last at 2026-11-20 12:00:00 UTC, from 192.0.2.7:4711.", "the token is not known here")
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
		d.Name, d.State = string(state)+"-one", state
		status.Streams[0].Destinations = append(status.Streams[0].Destinations, d)
	}
	page := get(t, serve(&source{status: status}, nil), "/")
	blocked, waiting, parked := strings.Index(page, "to blocked-one"), strings.Index(page, "to waiting-one"), strings.Index(page, "to parked-one")
	if blocked < 0 || blocked > waiting || waiting > parked {
		t.Errorf("got places %d, %d, %d; want them rising", blocked, waiting, parked)
	}
	wantText(t, page, `href="#d0-3"`, `id="d0-3"`)
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
	for _, bad := range []string{"<script", "<img"} {
		if strings.Contains(page, bad) {
			t.Errorf("got %q in the page", bad)
		}
	}
	wantText(t, page, "&lt;script&gt;")
}

func TestPage_LoadsNoOtherFile(t *testing.T) {
	w := ask(t, serve(&source{status: sample()}, nil), "GET", "/")
	for _, bad := range []string{"http://", "https://", "<script", "<link", "@import", "url("} {
		if strings.Contains(w.Body.String(), bad) {
			t.Errorf("got %q in the page", bad)
		}
	}
	wantText(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
}

// Problems stand at the top, with cause and remedy.
func TestPage_ShowsProblems(t *testing.T) {
	page := get(t, serve(&source{status: sample()}, nil), "/")
	wantText(t, page, "disk_full", "events are not accepted: the disk is full", "Since 2026-11-20 12:00:04 UTC. Remedy: free disk space.")
	if strings.Index(page, "Remedy:") > strings.Index(page, "<h2>Disk</h2>") {
		t.Error("the problem stands below the figures")
	}
}

// A destination with a problem is listed once, with a link to its card.
func TestPage_ListsADestinationOnce(t *testing.T) {
	status := sample()
	status.Streams[0].Destinations[0].State = admin.Blocked
	status.Problems = []admin.Problem{{Kind: "blocked", Severity: admin.Critical, Stream: "clicks", Destination: "archive", Text: "blocked with 1,000 events pending: denied"}}
	page := get(t, serve(&source{status: status}, nil), "/")
	wantText(t, page, `<a href="#d0-0">clicks to archive</a>: blocked with 1,000 events pending: denied`)
	if n := strings.Count(page, "clicks to archive"); n != 1 {
		t.Errorf("got %d lines about the destination above the figures, want 1", n)
	}
}
