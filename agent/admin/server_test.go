package admin_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/admin"
)

func TestHealth(t *testing.T) {
	sick := errors.New("the log is full: 10 of 10 bytes in use")
	tests := []struct {
		name, path  string
		live, ready error
		code        int
		body        string
	}{
		{"live", "/livez", nil, sick, 200, "ok\n"},
		{"not live", "/livez", sick, nil, 503, sick.Error() + "\n"},
		{"ready", "/readyz", sick, nil, 200, "ok\n"},
		{"not ready", "/readyz", nil, sick, 503, sick.Error() + "\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := ask(t, serve(&source{live: test.live, ready: test.ready}, nil), "GET", test.path)
			if got, want := fmt.Sprintf("%d %s", w.Code, w.Body), fmt.Sprintf("%d %s", test.code, test.body); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestServer_Responses(t *testing.T) {
	tests := []struct {
		method, path string
		code         int
		kind         string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"HEAD", "/", 200, "text/html; charset=utf-8"},
		{"GET", "/v1/status", 200, "application/json"},
		{"HEAD", "/v1/status", 200, "application/json"},
		{"HEAD", "/livez", 200, "text/plain; charset=utf-8"},
		{"GET", "/metrics", 200, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"},
		{"GET", "/v1", 404, "text/plain; charset=utf-8"},
		{"GET", "/v1/status/", 404, "text/plain; charset=utf-8"},
		{"GET", "/index.html", 404, "text/plain; charset=utf-8"},
		{"GET", "/debug/pprof/", 404, "text/plain; charset=utf-8"},
		{"POST", "/nowhere", 404, "text/plain; charset=utf-8"},
		{"POST", "/v1/status", 405, "text/plain; charset=utf-8"},
		{"PUT", "/readyz", 405, "text/plain; charset=utf-8"},
		{"DELETE", "/metrics", 405, "text/plain; charset=utf-8"},
	}
	s := serve(&source{status: sample()}, nil)
	for _, test := range tests {
		w := ask(t, s, test.method, test.path)
		if w.Code != test.code || w.Header().Get("Content-Type") != test.kind {
			t.Errorf("%s %s: got %d, %q; want %d, %q", test.method, test.path,
				w.Code, w.Header().Get("Content-Type"), test.code, test.kind)
		}
	}
}

func TestServe_OnASocketUntilCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- serve(&source{status: sample()}, nil).Serve(ctx, l) }()

	if got, want := askSocket(t, path), "HTTP/1.1 200 OK"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("the listener is open after Serve")
	}
}

func askSocket(t *testing.T, path string) string {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestServe_ReturnsListenerError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	err = admin.New(admin.Options{Source: &source{}}).Serve(t.Context(), l)
	if err == nil || errors.Is(err, http.ErrServerClosed) {
		t.Errorf("got %v, want the listener's error", err)
	}
	if err != nil {
		wantText(t, err.Error(), "serve admin on 127.0.0.1:")
	}
}

// POST /v1/reload responds with the changes, or with the faults, and only to callers that are no page of a browser.
func TestReload_RespondsWithChangesOrFaults(t *testing.T) {
	status := sample()
	status.Reload = admin.ReloadStatus{OK: true, Changes: admin.ReloadChanges{Streams: 2, Parked: []string{"clicks/archive (5 events)"}}}
	var fault error
	calls := 0
	s := admin.New(admin.Options{Source: &source{status: status}, Reload: func() error { calls++; return fault }})
	post := func(origin string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/v1/reload", nil)
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	if got := post(""); got.Code != http.StatusOK || !strings.Contains(got.Body.String(), `"clicks/archive (5 events)"`) || !strings.Contains(got.Body.String(), `"started": []`) {
		t.Errorf("got %d %s, want the changes", got.Code, got.Body)
	}
	fault = errors.New("agent.hcl:3:1: unknown setting\nagent.hcl:4:1: unknown setting")
	if got := post(""); got.Code != http.StatusUnprocessableEntity || got.Body.String() != fault.Error()+"\n" {
		t.Errorf("got %d %s, want the faults", got.Code, got.Body)
	}
	if got := post("http://127.0.0.1:7712"); got.Code != http.StatusForbidden || calls != 2 {
		t.Errorf("a page: got %d after %d calls, want it rejected", got.Code, calls)
	}
}
