package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/admin"
)

// replays notes its calls.
type replays struct {
	what string
	err  error
}

func (r *replays) Start(_ context.Context, stream, name string, q admin.ReplayRequest) (admin.Replay, error) {
	r.what = fmt.Sprint("start ", stream, " ", name, " ", q.FromOffset, " ", q.ToOffset, " ", q.Keys)
	return admin.Replay{Stream: stream, State: admin.ReplayRunning}, r.err
}

func (r *replays) Get(stream, name string) (admin.Replay, error) {
	r.what = "get " + stream + " " + name
	return admin.Replay{Stream: stream, State: admin.ReplayDone}, r.err
}

func (r *replays) Cancel(stream, name string) (admin.Replay, error) {
	r.what = "cancel " + stream + " " + name
	return admin.Replay{Stream: stream, State: admin.ReplayCancelled}, r.err
}

func TestReplay_IsStartedShownAndEnded(t *testing.T) {
	const path, body = "/v1/streams/s%2F1/destinations/d/replay", `{"from_offset": 3, "to_offset": 9, "keys": ["k"]}`
	for _, test := range []struct {
		method, body, kind, origin string
		err                        error
		code                       int
		what                       string
	}{
		{"POST", body, "application/json", "", nil, 200, "start s/1 d 3 9 [k]"},
		{"POST", body, "application/json", "", fmt.Errorf("%w: x", admin.ErrRange), 422, "start s/1 d 3 9 [k]"},
		{"POST", body, "application/json", "", fmt.Errorf("%w: x", admin.ErrConflict), 409, "start s/1 d 3 9 [k]"},
		{"POST", body, "application/json", "", fmt.Errorf("%w: x", admin.ErrUnavailable), 503, "start s/1 d 3 9 [k]"},
		{"POST", body, "text/plain", "", nil, 415, ""},
		{"POST", `{"from": 3}`, "application/json", "", nil, 400, ""},
		{"POST", `{"from_offset": -3}`, "application/json", "", nil, 400, ""},
		{"POST", strings.Repeat(" ", 1<<20) + body, "application/json", "", nil, 400, ""},
		{"POST", body, "application/json", "http://evil.example", nil, 403, ""},
		{"GET", "", "", "", nil, 200, "get s/1 d"},
		{"GET", "", "", "", fmt.Errorf("%w: x", admin.ErrNoReplay), 404, "get s/1 d"},
		{"DELETE", "", "", "", nil, 200, "cancel s/1 d"},
		{"DELETE", "", "", "http://evil.example", nil, 403, ""},
		{"PUT", body, "application/json", "", nil, 405, ""},
	} {
		to := &replays{err: test.err}
		w, r := httptest.NewRecorder(), httptest.NewRequest(test.method, path, strings.NewReader(test.body))
		if test.kind != "" {
			r.Header.Set("Content-Type", test.kind)
		}
		if test.origin != "" {
			r.Header.Set("Origin", test.origin)
		}
		admin.New(admin.Options{Source: &source{}, Replays: to}).ServeHTTP(w, r)
		if w.Code != test.code || to.what != test.what {
			t.Errorf("%s %.60q: got %d and %q (%s), want %d and %q", test.method, test.body, w.Code, to.what, w.Body, test.code, test.what)
		}
		var got admin.Replay
		if err := json.Unmarshal(w.Body.Bytes(), &got); w.Code == 200 && (err != nil || got.Stream != "s/1") {
			t.Errorf("%s: got %s", test.method, w.Body)
		}
	}
}
