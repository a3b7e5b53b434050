package destinationcmd_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/clitest"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/destinationcmd"
)

// run runs a command with that standard input against an agent, and returns the POST requests too.
func run(t *testing.T, input string, args ...string) (out clitest.Outcome, posted []string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == "/v1/status" {
			json.NewEncoder(w).Encode(status)
			return
		}
		posted = append(posted, r.Method+" "+r.URL.EscapedPath())
		if strings.Contains(r.URL.Path, "/nosuch/") {
			http.Error(w, `no such destination: near are "old"`, http.StatusNotFound)
			return
		}
		json.NewEncoder(w).Encode(admin.ActionOutcome{Dropped: admin.Volume{Events: 10, Bytes: 2048}, DeadLetters: 1})
	}))
	defer s.Close()
	var stdout, stderr bytes.Buffer
	args = append(append([]string{"destination"}, args...), "--address", s.Listener.Addr().String())
	code := cli.Run(cli.NewRoot(destinationcmd.New), args, strings.NewReader(input), &stdout, &stderr)
	return clitest.Outcome{Code: code, Stdout: stdout.String(), Stderr: stderr.String()}, posted
}

var status = admin.Status{Streams: []admin.StreamStatus{
	{Name: "a/b", Destinations: []admin.DestinationStatus{
		{Type: "file", Name: "old\x1b", State: admin.Parked, Pending: admin.Pending{Events: 1234, Bytes: 2048, OldestSeconds: 90}, DeadLetters: 3},
		{Type: "file", Name: "ended", State: admin.Forgotten},
	}},
	{Name: "clicks", Destinations: []admin.DestinationStatus{{Type: "kinesis", Name: "live", State: admin.Running}}},
}}

func TestList(t *testing.T) {
	got, _ := run(t, "", "ls")
	want := `STREAM  NAME  TYPE     STATE    PENDING  BYTES    OLDEST  DEAD LETTERS
a/b     old` + "\ufffd" + `  file     parked   1,234    2.0 KiB  1m 30s  3
clicks  live  kinesis  running  0        0 B      -       0
`
	if got.Code != 0 || got.Stdout != want {
		t.Errorf("got %+v, want\n%s", got, want)
	}
	if got, _ := run(t, "", "ls", "clicks"); strings.Contains(got.Stdout, "a/b") || !strings.Contains(got.Stdout, "live") {
		t.Errorf("got %q, want the destinations of clicks alone", got.Stdout)
	}
	got, _ = run(t, "", "ls", "--json")
	var list []map[string]any
	if err := json.Unmarshal([]byte(got.Stdout), &list); err != nil || len(list) != 3 {
		t.Fatalf("got %q, %v, want three objects", got.Stdout, err)
	}
	if list[0]["stream"] != "a/b" || list[0]["state"] != "parked" || list[0]["dead_letters"] != 3.0 || list[1]["state"] != "forgotten" {
		t.Errorf("got %v", list)
	}
}

func TestActions(t *testing.T) {
	for action, text := range map[string]string{"pause": "paused", "resume": "resumed", "retry": "tries again"} {
		got, posted := run(t, "", action, "a/b", "old name")
		if got.Code != 0 || got.Stdout != "a/b to old name: "+text+"\n" || len(posted) != 1 || posted[0] != "POST /v1/destinations/a%2Fb/old%20name/"+action {
			t.Errorf("%s: got %+v after %q", action, got, posted)
		}
		got, _ = run(t, "", action, "a", "nosuch")
		if got.Code != 1 || !strings.Contains(got.Stderr, `near are "old"`) || got.Stdout != "" {
			t.Errorf("%s: got %+v for an unknown name", action, got)
		}
		if got, posted := run(t, "", action, "a"); got.Code != 2 || len(posted) > 0 {
			t.Errorf("%s: got %+v without a name", action, got)
		}
	}
}

func TestForget_AsksFirst(t *testing.T) {
	for _, test := range []struct {
		input string
		args  []string
		done  bool
	}{
		{"", nil, false},
		{"n\n", nil, false},
		{"y\n", nil, true},
		{"YES\n", nil, true},
		{"", []string{"--yes"}, true},
	} {
		got, posted := run(t, test.input, append([]string{"forget", "a/b", "old\x1b"}, test.args...)...)
		done := len(posted) == 1 && strings.HasSuffix(posted[0], "/forget")
		if done != test.done || (got.Code == 0) != test.done {
			t.Errorf("%q %q: got %+v after %q, want done %v", test.input, test.args, got, posted, test.done)
		}
		asked := strings.Contains(got.Stderr, "with 1234 pending events (2.0 KiB)? The events cannot be delivered after that. [y/N]")
		if asked != (test.args == nil) {
			t.Errorf("%q %q: got %q", test.input, test.args, got.Stderr)
		}
		if done && got.Stdout != "a/b to old\ufffd: forgotten; dropped 10 events (2.0 KiB) and 1 dead letter\n" {
			t.Errorf("got %q", got.Stdout)
		}
	}
}
