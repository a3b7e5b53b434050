//go:build unix

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/testkit"
)

const secondFile = `
  destination "file" "second" { path = "${dir}/second/${stream}" }`

// An operator renames a destination whose service does not answer, is warned, and ends the old one with forget.
func TestParked_OperatorForgetsIt(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	dead := kinesisDestination("http://127.0.0.1:1")
	a := startAgent(t, "shutdown_timeout = \"1s\"\n", streamBlock("clicks", dead, fileDestination))
	sent := readings(28, 300)
	send(t, a.dial(), "clicks", sent[:200])
	run := func(want string, args ...string) string {
		t.Helper()
		code, out, errs := runProgram(t, "", args...)
		if code != 0 || !strings.Contains(out+errs, want) {
			t.Errorf("standpipe %s: got exit code %d, %q and %q, want %q", strings.Join(args, " "), code, out, errs, want)
		}
		return out
	}
	a.configure(streamBlock("clicks", fileDestination))
	run(`destination "live" of stream "clicks" would be parked: the file does not have it; it holds 200 events`,
		"validate", "--data-dir", a.path("data"), a.path("agent.hcl"))
	run("parked, and keeps its events: clicks/live (200 events, ", "reload", "--address", a.admin)
	send(t, a.dial(), "clicks", sent[200:])
	a.kill()
	a.start()
	testkit.Eventually(t, 10*time.Second, a.parked("live", 200))
	testkit.Eventually(t, 10*time.Second, func() error {
		code, out, _ := runProgram(t, "", "status", "--problems", "--address", a.admin)
		if code != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), "parked: clicks to live: not in the configuration any more, and holds 200") {
			return fmt.Errorf("got %d and %q, want the problem", code, out)
		}
		return nil
	})
	run("parked", "destination", "ls", "--address", a.admin)
	run("clicks to live: forgotten; dropped 200 events", "destination", "forget", "clicks", "live", "--yes", "--address", a.admin)
	if out := run("local", "destination", "ls", "--address", a.admin); strings.Contains(out, "live") {
		t.Errorf("got %q, want no forgotten destination", out)
	}
	a.kill()
	a.start()
	d := a.stream("clicks").destination("live")
	if d.State != "forgotten" || d.Pending.Events != 0 || d.Dropped.Reasons["forgotten"] != 200 || d.Dropped.Reasons["parked"] != 100 {
		t.Errorf("got %+v, want 200 events forgotten and 100 missed", d)
	}
	a.stop()
}

// parkHistory is the expected count of a destination that operators park, pause and forget.
type parkHistory struct {
	parked, paused                     bool
	sent                               int
	delivered, pending, missed, forgot int
}

func (h *parkHistory) send(n int) {
	h.sent += n
	switch {
	case h.parked:
		h.missed += n
	default:
		h.pending += n
	}
	h.ship()
}

func (h *parkHistory) ship() {
	if !h.parked && !h.paused {
		h.delivered, h.pending = h.delivered+h.pending, 0
	}
}

// Random histories of appends and of all actions, with kills between them, count each event once.
func TestParked_RandomHistoriesWithKills(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	both, one := streamBlock("clicks", fileDestination, secondFile), streamBlock("clicks", fileDestination)
	a := startAgent(t, "", both)
	h := &parkHistory{}
	all := readings(29, 3000)
	act := func(args ...string) {
		t.Helper()
		if code, out, errs := runProgram(t, "", append(args, "--address", a.admin)...); code != 0 {
			t.Fatalf("standpipe %s: got exit code %d, %q and %q", strings.Join(args, " "), code, out, errs)
		}
	}
	steps := []struct {
		name string
		do   func()
	}{
		{"send", func() {
			n := 1 + r.IntN(100)
			send(t, a.dial(), "clicks", all[h.sent:h.sent+n])
			h.send(n)
		}},
		{"park", func() {
			if h.parked {
				return
			}
			a.configure(one)
			act("reload")
			h.parked = true
		}},
		{"return", func() {
			if !h.parked {
				return
			}
			a.configure(both)
			act("reload")
			h.parked = false
			h.ship()
		}},
		{"forget", func() {
			if !h.parked {
				return
			}
			act("destination", "forget", "clicks", "second", "--yes")
			h.forgot, h.pending, h.paused = h.forgot+h.pending, 0, false
		}},
		{"pause", func() {
			if h.parked || h.paused {
				return
			}
			act("destination", "pause", "clicks", "second")
			h.paused = true
		}},
		{"resume", func() {
			if h.parked || !h.paused {
				return
			}
			act("destination", "resume", "clicks", "second")
			h.paused = false
			h.ship()
		}},
		{"kill", func() {
			a.kill()
			a.start()
		}},
	}
	history := ""
	expect := func() {
		t.Helper()
		testkit.Eventually(t, 20*time.Second, func() error {
			d := a.stream("clicks").destination("second")
			got := parkHistory{
				h.parked, h.paused, h.sent, int(d.Delivered.Events), int(d.Pending.Events),
				int(d.Dropped.Reasons["parked"]), int(d.Dropped.Reasons["forgotten"]),
			}
			if got != *h || d.Dropped.Events != uint64(h.missed+h.forgot) {
				return fmt.Errorf("%s: got %+v (%s), want %+v", history, got, d.State, *h)
			}
			return nil
		})
	}
	steps[0].do()
	expect()
	for range 20 {
		step := steps[r.IntN(len(steps))]
		history += " " + step.name
		step.do()
		if r.IntN(2) == 0 {
			history += " kill"
			a.kill()
			a.start()
		}
		expect()
	}
	a.waitDrained()
	a.stop()
	if got := len(delivered(t, a.path("second"), "sensor", true)); got != h.delivered {
		t.Errorf("%s: got %d events in the files, want %d", history, got, h.delivered)
	}
}

// waitDrained waits until the first destination has all events.
func (a *agent) waitDrained() {
	a.t.Helper()
	testkit.Eventually(a.t, 20*time.Second, func() error {
		if d := a.stream("clicks").destination("local"); d.Pending.Events > 0 {
			return fmt.Errorf("%d events pending", d.Pending.Events)
		}
		return nil
	})
}
