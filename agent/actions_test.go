package agent_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/test/fakeaws"
)

const (
	twoFiles = `
stream "s" {
  destination "file" "kept" {
    path = "DIR/kept"
    batch { max_delay = "10ms" }
  }
  destination "file" "gone" {
    path = "DIR/blocker/gone"
    batch { max_delay = "10ms" }
    retry { max = "1h" }
  }
}`
	oneFile = `
stream "s" {
  destination "file" "kept" {
    path = "DIR/kept"
    batch { max_delay = "10ms" }
  }
}`
)

// tryAct applies an action once the agent is running.
func tryAct(t *testing.T, a *running, stream, name string, action admin.Action) (admin.ActionOutcome, error) {
	<-a.Running()
	return a.Act(t.Context(), stream, name, action)
}

func act(t *testing.T, a *running, name string, action admin.Action) admin.ActionOutcome {
	t.Helper()
	out, err := tryAct(t, a, "s", name, action)
	if err != nil {
		t.Fatalf("%s: %v", action, err)
	}
	return out
}

// A destination that leaves the file keeps its events and gets no others, over a restart too; forget drops them. When it
// is back, it gets new events.
func TestParked_IsForgotten(t *testing.T) {
	dir := t.TempDir()
	blockPath(t, dir+"/blocker")
	conf := parse(t, dir, twoFiles)
	a := start(t, conf, hclog.NewNullLogger())
	send(t, dial(t, conf), "s", 10)
	if _, err := tryAct(t, a, "s", "gone", admin.Forget); !errors.Is(err, admin.ErrConflict) {
		t.Errorf("got %v for a configured destination, want ErrConflict", err)
	}
	one := parse(t, dir, oneFile)
	reloaded(t, a.Agent, one)
	send(t, dial(t, conf), "s", 5)
	check := func(a *running, state admin.State, pending, missed, forgotten uint64) {
		t.Helper()
		d := destination(t, a.Agent, "s", "gone")
		if d.State != state || d.Pending.Events != pending || d.Dropped.Reasons["parked"] != missed || d.Dropped.Reasons["forgotten"] != forgotten {
			t.Errorf("got %+v, want %s with %d pending, %d missed and %d forgotten", d, state, pending, missed, forgotten)
		}
		if err := a.Status().Check(); err != nil {
			t.Error(err)
		}
	}
	check(a, admin.Parked, 10, 5, 0)
	for _, action := range []admin.Action{admin.Pause, admin.Resume, admin.Retry} {
		if _, err := tryAct(t, a, "s", "gone", action); !errors.Is(err, admin.ErrConflict) {
			t.Errorf("%s: got %v for a parked destination, want ErrConflict", action, err)
		}
	}
	if err := a.stop(t); err != nil {
		t.Fatal(err)
	}
	var said transcript
	a = start(t, one, said.logger())
	check(a, admin.Parked, 10, 5, 0)
	until(t, "the start warns of it", func() bool {
		return said.count("kind=parked stream=s destination=gone") == 1 && said.count("holds 10 events") == 1
	})
	if got := act(t, a, "gone", admin.Forget); got.Dropped.Events != 10 || got.DeadLetters != 0 {
		t.Errorf("got %+v, want 10 events dropped", got)
	}
	check(a, admin.Forgotten, 0, 5, 10)
	send(t, dial(t, conf), "s", 1)
	check(a, admin.Forgotten, 0, 6, 10)
	if err := a.stop(t); err != nil {
		t.Fatal(err)
	}
	a = start(t, one, hclog.NewNullLogger())
	check(a, admin.Forgotten, 0, 6, 10)
	unblockPath(t, dir+"/blocker")
	reloaded(t, a.Agent, conf)
	send(t, dial(t, conf), "s", 4)
	until(t, "it delivers the new events", func() bool { return destination(t, a.Agent, "s", "gone").Delivered.Events == 4 })
	check(a, admin.Running, 0, 6, 10)
}

// A destination that left the file while the agent was down is parked at the start.
func TestParked_IsFoundAtTheStart(t *testing.T) {
	dir := t.TempDir()
	blockPath(t, dir+"/blocker")
	conf := parse(t, dir, twoFiles)
	a := start(t, conf, hclog.NewNullLogger())
	send(t, dial(t, conf), "s", 2)
	if err := a.stop(t); err != nil {
		t.Fatal(err)
	}
	a = start(t, parse(t, dir, oneFile), hclog.NewNullLogger())
	send(t, dial(t, conf), "s", 3)
	if d := destination(t, a.Agent, "s", "gone"); d.State != admin.Parked || d.Pending.Events != 2 || d.Dropped.Reasons["parked"] != 3 || d.ParkedAt.IsZero() {
		t.Errorf("got %+v, want it parked with 2 events", d)
	}
}

// The dead letters of a destination are counted in its status, and are deleted with its events. Those of others stay.
func TestForget_DeletesTheDeadLetters(t *testing.T) {
	srv := fakeaws.Start(t)
	awsEnvironment(t)
	dir := t.TempDir()
	firehose := func(name string) string {
		return fmt.Sprintf(`
  destination "firehose" %q {
    delivery_stream = %q
    endpoint        = %q
    batch { max_delay = "10ms" }
  }`, name, name, srv.URL())
	}
	conf := parse(t, dir, `stream "s" {`+firehose("kept")+firehose("gone")+"\n}")
	for range 2 {
		srv.FailNext(fakeaws.Refuse(400, "InvalidArgumentException", "no"))
	}
	a := start(t, conf, hclog.NewNullLogger())
	send(t, dial(t, conf), "s", 1)
	letters := func(name string) uint64 { return destination(t, a.Agent, "s", name).DeadLetters }
	until(t, "both have rejected it", func() bool { return letters("kept") == 1 && letters("gone") == 1 })
	until(t, "the problem is found", func() bool { return problem(a.Agent, "dead_letters") != nil })
	reloaded(t, a.Agent, parse(t, dir, `stream "s" {`+firehose("kept")+"\n}"))
	if got := act(t, a, "gone", admin.Forget); got.DeadLetters != 1 || got.Dropped.Events != 0 {
		t.Errorf("got %+v, want one letter deleted", got)
	}
	until(t, "one letter is left", func() bool { return letters("kept") == 1 && letters("gone") == 0 })
}

// A paused destination sends nothing, over a reload and a restart too. It keeps its events, and delivers them when it is
// resumed.
func TestPause_LastsUntilResume(t *testing.T) {
	dir := t.TempDir()
	conf := parse(t, dir, twoFiles)
	a := start(t, conf, hclog.NewNullLogger())
	client := dial(t, conf)
	send(t, client, "s", 3)
	gone := func(a *running) admin.DestinationStatus { return destination(t, a.Agent, "s", "gone") }
	until(t, "it delivers", func() bool { return gone(a).Delivered.Events == 3 })
	act(t, a, "gone", admin.Pause)
	since := gone(a).PausedAt
	send(t, client, "s", 5)
	paused := func(a *running) {
		t.Helper()
		if _, err := tryAct(t, a, "s", "gone", admin.Retry); !errors.Is(err, admin.ErrConflict) {
			t.Errorf("got %v for a paused destination, want ErrConflict", err)
		}
		until(t, "the other one delivers", func() bool { return destination(t, a.Agent, "s", "kept").Delivered.Events == 8 })
		if d := gone(a); d.State != admin.Paused || d.Pending.Events != 5 || !d.PausedAt.Equal(since.Time) || since.IsZero() || d.Type != "file" {
			t.Errorf("got %+v, want it paused since %s with 5 pending", d, since)
		}
		until(t, "the problem is found", func() bool { return problem(a.Agent, "paused") != nil })
	}
	paused(a)
	act(t, a, "gone", admin.Pause) // has no further effect
	changed := parse(t, dir, strings.Replace(twoFiles, `max = "1h"`, `max = "2h"`, 1))
	reloaded(t, a.Agent, changed)
	paused(a)
	if err := a.stop(t); err != nil {
		t.Fatal(err)
	}
	a = start(t, conf, hclog.NewNullLogger())
	paused(a)
	act(t, a, "gone", admin.Resume)
	until(t, "it delivers again", func() bool { return gone(a).Delivered.Events == 8 })
	if d := gone(a); d.State != admin.Running || !d.PausedAt.IsZero() {
		t.Errorf("got %+v, want it running", d)
	}
	until(t, "the problem is over", func() bool { return problem(a.Agent, "paused") == nil })
	act(t, a, "gone", admin.Resume) // has no further effect
}

// Retry ends the delay of a destination that is blocked by its service, or cannot be built.
func TestRetry_EndsTheDelay(t *testing.T) {
	srv := fakeaws.Start(t)
	awsEnvironment(t)
	dir := t.TempDir()
	profiles := dir + "/profiles"
	t.Setenv("AWS_CONFIG_FILE", profiles)
	destinationOf := func(name, settings string) string {
		return fmt.Sprintf(`
  destination "kinesis" %q {
    stream   = "s"
    endpoint = %q
    %s
    batch { max_delay = "10ms" }
    retry {
      initial = "1h"
      max     = "1h"
    }
  }`, name, srv.URL(), settings)
	}
	conf := parse(t, dir, `stream "s" {`+destinationOf("refused", "")+destinationOf("unbuilt", `profile = "later"`)+"\n}")
	srv.FailNext(fakeaws.Refuse(400, "AccessDeniedException", "no"))
	a := start(t, conf, hclog.NewNullLogger())
	send(t, dial(t, conf), "s", 3)
	for _, name := range []string{"refused", "unbuilt"} {
		until(t, name+" is blocked", func() bool { return destination(t, a.Agent, "s", name).State == admin.Blocked })
	}
	act(t, a, "unbuilt", admin.Retry)
	if err := os.WriteFile(profiles, []byte("[profile later]\naws_access_key_id = AKIDFAKE\naws_secret_access_key = secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"refused", "unbuilt"} {
		act(t, a, name, admin.Retry)
		until(t, name+" delivers", func() bool { return destination(t, a.Agent, "s", name).Delivered.Events == 3 })
	}
}

// The error for an unknown stream or destination lists the near ones.
func TestAct_UnknownNames(t *testing.T) {
	dir := t.TempDir()
	conf := parse(t, dir, twoFiles)
	a := start(t, conf, hclog.NewNullLogger())
	send(t, dial(t, conf), "s", 1)
	for _, test := range []struct{ stream, name, text string }{
		{"s", "gon", `stream "s" has no destination "gon"; near are "gone", "kept"`},
		{"ss", "gone", `no stream "ss"; near are "s"`},
	} {
		_, err := tryAct(t, a, test.stream, test.name, admin.Forget)
		if !errors.Is(err, admin.ErrNoDestination) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("got %v, want ErrNoDestination with %q", err, test.text)
		}
	}
}
