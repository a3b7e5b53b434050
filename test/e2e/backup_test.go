//go:build linux

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
)

// enveloped is a destination whose lines have the IDs of their events.
const enveloped = `
  destination "file" "local" {
    path          = "${dir}/out/${stream}"
    envelope      = true
    roll_interval = "1s"
  }`

// idsOf returns the events that an agent has delivered, with the IDs under which each was.
func idsOf(t *testing.T, a *agent) map[string][]string {
	t.Helper()
	ids := make(map[string][]string)
	for _, file := range deliveredFiles(t, a.path("out")) {
		for text := range strings.Lines(readFile(t, file)) {
			var line struct {
				ID   string
				Data json.RawMessage
			}
			testkit.Must(t, json.Unmarshal([]byte(text), &line))
			ids[string(line.Data)] = append(ids[string(line.Data)], line.ID)
		}
	}
	return ids
}

// expectEvents requires that an agent has delivered each event of an origin once, or none of them.
func expectEvents(t *testing.T, ids map[string][]string, from string, n, times int) {
	t.Helper()
	for i := range n {
		if got := ids[fmt.Sprintf(`{"from":%q,"n":%d}`, from, i)]; len(got) != times {
			t.Errorf("event %d of %q is delivered as %q, want %d times", i, from, got, times)
		}
	}
}

// expectOneEventAnID requires that consumers of both agents may drop an event by its ID.
func expectOneEventAnID(t *testing.T, agents ...map[string][]string) {
	t.Helper()
	events := make(map[string]string)
	for _, ids := range agents {
		for data, list := range ids {
			for _, id := range list {
				if was, seen := events[id]; seen && was != data {
					t.Errorf("ID %s stands for %s and %s", id, was, data)
				}
				events[id] = data
			}
		}
	}
}

// restore copies a log to the data directory of an agent on another host, by the steps of docs/runbooks.md.
func restore(t *testing.T, from string, to *agent) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to.path("data")).CombinedOutput(); err != nil {
		t.Fatalf("cp -a: %v: %s", err, out)
	}
}

// expectCopy requires that the agent has logged that its log is a copy.
func expectCopy(t *testing.T, a *agent) {
	t.Helper()
	if text := a.out.String(); !strings.Contains(text, "log is a copy") {
		t.Errorf("the agent does not detect the copy:\n%s", tail(text, 15))
	}
}

// A snapshot beside a running agent has all events that were acknowledged before, and an agent on another host delivers those
// that were pending then. Events that were delivered before are not sent again. Those that were delivered after it are, under
// the same IDs.
func TestBackup_OfARunningAgent(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	const settled, pending, later, fresh = 300, 200, 100, 50
	lost := startAgent(t, "", streamBlock("orders", enveloped))
	putNumbers(lost, "settled", settled)
	lost.waitDelivered("orders", settled, time.Minute)
	lost.standpipe(t, "destination", "pause", "orders", "local")
	putNumbers(lost, "pending", pending)

	// A producer goes on while the snapshot is made.
	producer, stop, stopped := lost.dial(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := producer.Append(t.Context(), request("orders", event{"k", fmt.Sprintf(`{"from":"during","n":%d}`, n)})); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	code, _, stderr := runProgram(t, "", "wal", "snapshot", lost.path("data"), lost.path("backup"))
	close(stop)
	<-stopped
	if code != 0 {
		t.Fatalf("wal snapshot: got exit code %d: %s", code, stderr)
	}
	lost.standpipe(t, "destination", "resume", "orders", "local")
	putNumbers(lost, "later", later)
	lost.waitDelivered("orders", int(lost.stream("orders").NextOffset)-1, time.Minute)
	lost.stop()
	before := idsOf(t, lost)

	other := newAgent(t, "", streamBlock("orders", enveloped))
	restore(t, lost.path("backup"), other)
	other.start()
	expectCopy(t, other)
	if got := other.stream("orders").destination("local").State; got != "paused" {
		t.Errorf("got the state %s of a destination that was paused at the snapshot, want paused", got)
	}
	other.standpipe(t, "destination", "resume", "orders", "local")
	putNumbers(other, "fresh", fresh)
	other.waitDelivered("orders", int(other.stream("orders").NextOffset)-1, time.Minute)
	other.stop()
	after := idsOf(t, other)
	expectEvents(t, after, "settled", settled, 0)
	expectEvents(t, after, "pending", pending, 1)
	expectEvents(t, after, "later", later, 0)
	expectEvents(t, after, "fresh", fresh, 1)
	for data, ids := range after {
		if was, there := before[data]; there && !slices.Equal(ids, was) {
			t.Errorf("event %s was delivered as %q, and is as %q from the backup", data, was, ids)
		}
	}
	expectOneEventAnID(t, before, after)
}

// A log that is copied while its agent is stopped loses nothing, and sends nothing twice.
func TestBackup_OfAStoppedAgent(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	const settled, pending, fresh = 300, 200, 50
	old := startAgent(t, "", streamBlock("orders", enveloped))
	putNumbers(old, "settled", settled)
	old.waitDelivered("orders", settled, time.Minute)
	old.standpipe(t, "destination", "pause", "orders", "local")
	putNumbers(old, "pending", pending)
	old.stop()

	other := newAgent(t, "", streamBlock("orders", enveloped))
	restore(t, old.path("data"), other)
	other.start()
	expectCopy(t, other)
	other.standpipe(t, "destination", "resume", "orders", "local")
	putNumbers(other, "fresh", fresh)
	other.waitDelivered("orders", settled+pending+fresh, time.Minute)
	other.stop()
	before, after := idsOf(t, old), idsOf(t, other)
	expectEvents(t, before, "settled", settled, 1)
	expectEvents(t, before, "pending", pending, 0)
	expectEvents(t, after, "settled", settled, 0)
	expectEvents(t, after, "pending", pending, 1)
	expectEvents(t, after, "fresh", fresh, 1)
	expectOneEventAnID(t, before, after)
}
