package agent_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/admin"
)

// logBuffer collects log lines.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logBuffer) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// problem returns the agent's present problem of a kind, or nil.
func problem(a *agent.Agent, kind string) *admin.Problem {
	problems := a.Status().Problems
	if i := slices.IndexFunc(problems, func(p admin.Problem) bool { return p.Kind == kind }); i >= 0 {
		return &problems[i]
	}
	return nil
}

// A destination that takes nothing fills the log: status, /readyz and the agent log have the reason. Once the destination
// delivers, each problem is over.
func TestProblems_OfAFullLog(t *testing.T) {
	dir, logs := t.TempDir(), new(logBuffer)
	const full = `
wal {
  max_size     = "2MiB"
  segment_size = "256KiB"
}
stream "s" {
  format = "bytes"
  destination "file" "local" {
    path = "DIR/blocker/out"
    retry { max = "200ms" }
  }
}`
	conf := parse(t, dir, full)
	blockPath(t, dir+"/blocker")
	a := start(t, conf, hclog.New(&hclog.LoggerOptions{Output: logs, Level: hclog.Info}))
	client := dial(t, conf)
	until(t, "the log is full", func() bool { return appendOf(t, client, 32<<10) == codes.ResourceExhausted })

	if problem(a.Agent, "wal_full") == nil {
		t.Errorf("got %+v, want wal_full once an event is rejected", a.Status().Problems)
	}
	until(t, "the problems are found", func() bool { return problem(a.Agent, "wal_full") != nil && problem(a.Agent, "blocked") != nil })
	status := a.Status()
	if got := status.Accepting; got.OK || got.Reason != "wal_full" || got.Since.IsZero() {
		t.Errorf("got %+v, want the reason wal_full and its time", got)
	}
	if err := a.Ready(); err == nil || !strings.Contains(err.Error(), "the log is full") {
		t.Errorf("got %v, want the reason", err)
	}
	if p := problem(a.Agent, "blocked"); p.Stream != "s" || p.Destination != "local" || !strings.Contains(p.Text, "blocker") {
		t.Errorf("got %+v, want the destination and the path", p)
	}

	unblockPath(t, dir+"/blocker")
	until(t, "all is delivered", func() bool { return destination(t, a.Agent, "s", "local").Pending.Events == 0 })
	until(t, "an append is accepted", func() bool { return appendOf(t, client, 10) == codes.OK })
	until(t, "the problems are over", func() bool { return problem(a.Agent, "wal_full") == nil && problem(a.Agent, "blocked") == nil })
	if got := a.Status().Accepting; !got.OK || got.Reason != "" || !got.Since.IsZero() {
		t.Errorf("got %+v, want accepting", got)
	}
	if logs.count(" streams=1 destinations=1 wal_bytes=") != 1 {
		t.Error("the line of the start has no size of the agent")
	}
	if got := logs.count("problem: kind=wal_full"); got != 1 {
		t.Errorf("got %d lines of the beginning, want 1", got)
	}
}

// A failed reload is a problem until the next one succeeds, whether the file or the agent rejects it.
func TestProblems_OfAFailedReload(t *testing.T) {
	dir := t.TempDir()
	const one = `stream "s" {
  destination "file" "local" { path = "DIR/out" }
}`
	conf := parse(t, dir, one)
	a := start(t, conf, hclog.NewNullLogger())
	until(t, "it runs", func() bool { return a.Ready() == nil })
	if got := a.Status().Reload; !got.At.IsZero() {
		t.Errorf("got %+v before any reload", got)
	}
	a.ReloadFailed(errors.New("agent.hcl:3:1: unknown setting"))
	until(t, "the problem is found", func() bool { return problem(a.Agent, "reload_failed") != nil })
	if p := problem(a.Agent, "reload_failed"); !strings.Contains(p.Text, "agent.hcl:3:1: unknown setting") {
		t.Errorf("got %+v, want the fault", p)
	}
	if err := a.Reload(conf); err != nil {
		t.Fatal(err)
	}
	if got := a.Status().Reload; !got.OK || got.Error != "" {
		t.Errorf("got %+v, want success", got)
	}
	until(t, "the problem is over", func() bool { return problem(a.Agent, "reload_failed") == nil })
	taken := parse(t, dir, one+fmt.Sprintf("\nlistener \"grpc\" {\n address = \"unix://%s\"\n mode = \"0600\"\n}", dir+"/admin.sock/x"))
	if err := a.Reload(taken); err == nil {
		t.Fatal("got no error for a listener that cannot be bound")
	}
	if got := a.Status().Reload; got.OK || got.Error == "" {
		t.Errorf("got %+v, want the failure", got)
	}
}

// A destination that leaves the configuration with pending events is a problem; one without is not.
func TestProblems_OfAParkedDestination(t *testing.T) {
	dir := t.TempDir()
	blockPath(t, dir+"/blocker")
	conf := parse(t, dir, `stream "s" {
  destination "file" "kept" { path = "DIR/out" }
  destination "file" "gone" { path = "DIR/blocker/out" }
}`)
	a := start(t, conf, hclog.NewNullLogger())
	send(t, dial(t, conf), "s", 3)
	if err := a.Reload(parse(t, dir, `stream "s" {
  destination "file" "kept" { path = "DIR/out" }
}`)); err != nil {
		t.Fatal(err)
	}
	until(t, "the problem is found", func() bool { return problem(a.Agent, "parked") != nil })
	if p := problem(a.Agent, "parked"); p.Destination != "gone" || !strings.Contains(p.Text, "3 events") {
		t.Errorf("got %+v, want the events of gone", p)
	}
}

// A reload reports the destinations that it starts, replaces and parks.
func TestReload_ReportsParkedDestinations(t *testing.T) {
	dir := t.TempDir()
	conf := parse(t, dir, `stream "s" {
  destination "file" "kept" { path = "DIR/kept" }
  destination "file" "changed" { path = "DIR/old" }
  destination "file" "gone" { path = "DIR/gone" }
}`)
	a := start(t, conf, hclog.NewNullLogger())
	send(t, dial(t, conf), "s", 3)
	until(t, "all is delivered", func() bool { return destination(t, a.Agent, "s", "gone").Pending.Events == 0 })
	if err := a.Reload(parse(t, dir, `stream "s" {
  destination "file" "kept" { path = "DIR/kept" }
  destination "file" "changed" { path = "DIR/new" }
  destination "file" "added" { path = "DIR/added" }
}`)); err != nil {
		t.Fatal(err)
	}
	got := a.Status().Reload.Changes
	want := admin.ReloadChanges{Streams: 1, Listeners: 1, Started: []string{"s/added", "s/changed"}, Parked: []string{"s/gone (0 events)"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Rates are those of the last seconds: they rise with the traffic.
func TestStatus_Rates(t *testing.T) {
	dir := t.TempDir()
	conf := parse(t, dir, `stream "s" {
  destination "file" "local" { path = "DIR/out" }
}`)
	a := start(t, conf, hclog.NewNullLogger())
	client := dial(t, conf)
	until(t, "a rate is shown for both", func() bool {
		send(t, client, "s", 100)
		status := a.Status()
		if len(status.Streams) == 0 || len(status.Streams[0].Destinations) == 0 {
			return false
		}
		in, out := status.Streams[0].AppendRate, status.Streams[0].Destinations[0].Rate
		return in.Events > 0 && in.Bytes > in.Events && out.Events > 0 && out.Bytes > 0
	})
}

// The backlog of a destination that takes nothing has a time until the log is full; that of one that delivers has none.
func TestStatus_UntilFullOfAGrowingBacklog(t *testing.T) {
	dir := t.TempDir()
	blockPath(t, dir+"/blocker")
	conf := parse(t, dir, `
stream "s" {
  format = "bytes"
  destination "file" "kept" {
    path = "DIR/out"
    batch { max_delay = "10ms" }
  }
  destination "file" "stuck" { path = "DIR/blocker/out" }
}`)
	a := start(t, conf, hclog.NewNullLogger())
	client := dial(t, conf)
	until(t, "the backlog grows", func() bool {
		if code := appendOf(t, client, 32<<10); code != codes.OK {
			t.Fatalf("got %s", code)
		}
		return destination(t, a.Agent, "s", "stuck").UntilFullSeconds > 0
	})
	until(t, "the other has no backlog", func() bool {
		d := destination(t, a.Agent, "s", "kept")
		return d.Pending.Events == 0 && d.UntilFullSeconds == 0
	})
}
