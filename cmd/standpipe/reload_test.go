package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/admin"
)

func TestReload_PrintsTheChanges(t *testing.T) {
	answers := []any{
		admin.ReloadStatus{Changes: admin.ReloadChanges{
			Streams: 1, Listeners: 2, Started: []string{"clicks: file new"}, Parked: []string{"clicks: file old\x1b"}, NeedRestart: []string{"wal.data_dir"},
		}},
		"agent.hcl:3:1: unknown block\n    blokc {\n    ^^^^^",
		"no JSON",
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/v1/reload" {
			t.Errorf("got %s %s", r.Method, r.URL)
		}
		next := answers[0]
		answers = answers[1:]
		switch text, isText := next.(string); {
		case len(answers) == 1:
			http.Error(w, text, http.StatusUnprocessableEntity)
		case isText:
			w.Write([]byte(text))
		default:
			json.NewEncoder(w).Encode(next)
		}
	}))
	defer s.Close()
	run := func() outcome { return runWith("reload", "--address", s.Listener.Addr().String()) }
	want := `reloaded: 1 stream, 2 listeners
started: clicks: file new
parked, and keeps its events: clicks: file old` + "\ufffd" + `
takes effect at the next start: wal.data_dir
`
	if got := run(); got != (outcome{0, want, ""}) {
		t.Errorf("got %+v, want %q", got, want)
	}
	if got := run(); got.code != 1 || got.stdout != "" || !strings.HasPrefix(got.stderr, "agent.hcl:3:1: unknown block\n    blokc {\n    ^^^^^\n") ||
		!strings.Contains(got.stderr, "has not reloaded: the previous configuration stays in force") {
		t.Errorf("a file with faults: got %+v", got)
	}
	if got := run(); got.code != 1 || !strings.Contains(got.stderr, "read the response of the agent at ") {
		t.Errorf("a response that is no JSON: got %+v", got)
	}
	if got := runWith("reload", "--address", "nowhere"); got.code != 2 {
		t.Errorf("got %+v", got)
	}
}
