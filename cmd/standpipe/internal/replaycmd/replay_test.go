package replaycmd_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/clitest"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/replaycmd"
)

// agent is the admin listener of an agent. It answers with its replays in turn, and then with the last one again.
type agent struct {
	replays  []admin.Replay
	failure  string // of every request; empty: none
	requests []string
	posted   []admin.ReplayRequest
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.requests = append(a.requests, r.Method+" "+r.URL.EscapedPath())
	if r.Method == http.MethodPost {
		var q admin.ReplayRequest
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.Header.Get("Content-Type") != "application/json" {
			http.Error(w, fmt.Sprint("not a request: ", err), http.StatusBadRequest)
			return
		}
		a.posted = append(a.posted, q)
	}
	if a.failure != "" {
		http.Error(w, a.failure, http.StatusUnprocessableEntity)
		return
	}
	json.NewEncoder(w).Encode(a.replays[0])
	a.replays = a.replays[min(1, len(a.replays)-1):]
}

// replay runs the command against an agent.
func replay(t *testing.T, a *agent, args ...string) clitest.Outcome {
	t.Helper()
	s := httptest.NewServer(a)
	defer s.Close()
	return clitest.Run(replaycmd.New, append(append([]string{"replay"}, args...), "--address", s.Listener.Addr().String())...)
}

var (
	running = admin.Replay{
		Stream: "a/b", Destination: "live", State: admin.ReplayRunning, From: 5, To: 2005, Offset: 1005, Events: 1000, Bytes: 2048, EventsPerSecond: 250,
		Waits: "live events\x1b go first", Started: time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC),
	}
	done      = ended(admin.ReplayDone, "")
	cancelled = ended(admin.ReplayCancelled, "cancelled by an operator")
	failed    = ended(admin.ReplayFailed, "events from offset 1005 up to 1100 are gone from the log; a replay may go on from offset 1101")
)

func ended(state admin.ReplayState, reason string) admin.Replay {
	r := running
	r.State, r.Error, r.Waits, r.Rejected, r.FirstRejection = state, reason, "", 2, "Refused"
	r.Ended = r.Started.Add(4 * time.Second)
	if state == admin.ReplayDone {
		r.Offset = r.To
	}
	return r
}

const (
	path        = " /v1/streams/a%2Fb/destinations/live%20one/replay"
	runningText = "replay running: 1000 events (2.0 KiB) sent, at offset 1005 of 5 to 2004, 250/s, waits: live events\ufffd go first\n"
	doneText    = "replay done: 1000 events (2.0 KiB) sent, 2 rejected (the first: Refused), at offset 2005 of 5 to 2004, 250/s\n"
)

// The command waits for the end, unless it is detached. Its exit code is that of the result.
func TestReplay_PrintsTheResult(t *testing.T) {
	for _, test := range []struct {
		replays        []admin.Replay
		args           []string
		code           int
		stdout, stderr string
		requests       string // their methods
	}{
		{[]admin.Replay{running, running, done}, []string{"--from", "5"}, 0, doneText, "", "POST GET GET"},
		{[]admin.Replay{done}, []string{"--from", "5"}, 0, doneText, "", "POST"},
		{[]admin.Replay{running}, []string{"--from", "5", "--detach"}, 0, runningText, "", "POST"},
		{[]admin.Replay{running, failed}, []string{"--from", "5"}, 1, "replay failed: 1000 events (2.0 KiB) sent, 2 rejected (the first: Refused), at offset 1005 of 5 to 2004, 250/s\n",
			"standpipe: " + failed.Error + "\n", "POST GET"},
		{[]admin.Replay{running, cancelled}, []string{"--from", "5"}, 1, "replay cancelled: 1000 events (2.0 KiB) sent, 2 rejected (the first: Refused), at offset 1005 of 5 to 2004, 250/s\n",
			"standpipe: cancelled by an operator\n", "POST GET"},
		{[]admin.Replay{running}, []string{"--status"}, 0, runningText, "", "GET"},
		{[]admin.Replay{failed}, []string{"--status"}, 0, "replay failed: 1000 events (2.0 KiB) sent, 2 rejected (the first: Refused), at offset 1005 of 5 to 2004, 250/s; " + failed.Error + "\n", "", "GET"},
		{[]admin.Replay{cancelled}, []string{"--cancel"}, 0, "replay cancelled: 1000 events (2.0 KiB) sent, 2 rejected (the first: Refused), at offset 1005 of 5 to 2004, 250/s; cancelled by an operator\n", "", "DELETE"},
	} {
		a := &agent{replays: test.replays}
		got := replay(t, a, append([]string{"a/b", "--destination", "live one"}, test.args...)...)
		if got != (clitest.Outcome{Code: test.code, Stdout: test.stdout, Stderr: test.stderr}) {
			t.Errorf("%q: got %+v, want %d, %q and %q", test.args, got, test.code, test.stdout, test.stderr)
		}
		var want []string
		for method := range strings.FieldsSeq(test.requests) {
			want = append(want, method+path)
		}
		if fmt.Sprint(a.requests) != fmt.Sprint(want) {
			t.Errorf("%q: got the requests %q, want %q", test.args, a.requests, want)
		}
	}
}

// The JSON is the replay as the admin listener has it, in every state, and the exit code is as without it.
func TestReplay_PrintsJSON(t *testing.T) {
	for _, test := range []struct {
		replay admin.Replay
		flag   string
		code   int
	}{
		{done, "--from=5", 0},
		{failed, "--from=5", 1},
		{cancelled, "--from=oldest", 1},
		{running, "--status", 0},
		{failed, "--status", 0},
		{cancelled, "--cancel", 0},
	} {
		got := replay(t, &agent{replays: []admin.Replay{test.replay}}, "a/b", "--destination", "live", test.flag, "--json")
		var printed map[string]any
		if err := json.Unmarshal([]byte(got.Stdout), &printed); err != nil || got.Code != test.code {
			t.Errorf("%s of a %s replay: got %+v, %v, want %d and JSON", test.flag, test.replay.State, got, err, test.code)
		}
		text, err := json.Marshal(test.replay)
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]any
		if err := json.Unmarshal(text, &want); err != nil || fmt.Sprint(printed) != fmt.Sprint(want) {
			t.Errorf("%s of a %s replay: got %v, %v, want %v", test.flag, test.replay.State, printed, err, want)
		}
	}
}

func TestReplay_SendsItsRange(t *testing.T) {
	at := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		args []string
		want admin.ReplayRequest
	}{
		{[]string{"--from", "5"}, admin.ReplayRequest{FromOffset: 5}},
		{[]string{"--from", "oldest", "--to", "7"}, admin.ReplayRequest{FromOldest: true, ToOffset: 7}},
		{[]string{"--from", "2026-11-29T10:00:00Z", "--to", "2026-11-29T11:00:00Z", "--key", "a", "--key", "b,c"},
			admin.ReplayRequest{FromTime: at, ToTime: at.Add(time.Hour), Keys: []string{"a", "b,c"}}},
		{[]string{"--from", "5", "--to", "now"}, admin.ReplayRequest{FromOffset: 5}},
	} {
		a := &agent{replays: []admin.Replay{done}}
		if got := replay(t, a, append([]string{"s", "--destination", "live"}, test.args...)...); got.Code != 0 || len(a.posted) != 1 || fmt.Sprint(a.posted[0]) != fmt.Sprint(test.want) {
			t.Errorf("%q: got %+v and the requests %+v, want %+v", test.args, got, a.posted, test.want)
		}
	}
}

func TestReplay_RejectsInvalidCommandLines(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--from", "5"}, `required flag(s) "destination" not set`},
		{[]string{"--destination", "live"}, "at least one of the flags in the group [from status cancel] is required"},
		{[]string{"--destination", "live", "--from", "5", "--cancel"}, "[from status cancel]"},
		{[]string{"--destination", "live", "--from", "now"}, "--from now is an empty range"},
		{[]string{"--destination", "live", "--from", "5", "--to", "oldest"}, "--to oldest is an empty range"},
		{[]string{"--destination", "live", "--from", "yesterday"}, "yesterday"},
		{[]string{"--destination", "live", "--from", "5", "more"}, "2 arguments given"},
	} {
		a := &agent{replays: []admin.Replay{done}}
		got := replay(t, a, append([]string{"s"}, test.args...)...)
		if got.Code != cli.ExitUsage || got.Stdout != "" || !strings.Contains(got.Stderr, test.want) || len(a.requests) > 0 {
			t.Errorf("%q: got %+v and %q, want %d, %q and no request", test.args, got, a.requests, cli.ExitUsage, test.want)
		}
	}
}

// The reason of the agent is printed for each kind of request.
func TestReplay_PrintsTheReasonOfTheAgent(t *testing.T) {
	for _, flag := range []string{"--from=5", "--status", "--cancel"} {
		got := replay(t, &agent{failure: "the range cannot be replayed: it is empty"}, "s", "--destination", "live", flag)
		if got.Code != 1 || got.Stdout != "" || !strings.Contains(got.Stderr, "the range cannot be replayed: it is empty") {
			t.Errorf("%s: got %+v, want 1 and the reason", flag, got)
		}
	}
}
