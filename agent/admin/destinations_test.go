package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/standpipe/standpipe/agent/admin"
)

// acted is a Destinations that records its arguments.
type acted struct {
	what string
	err  error
}

func (a *acted) Act(_ context.Context, stream, name string, action admin.Action) (admin.ActionOutcome, error) {
	a.what = fmt.Sprint(action, " ", stream, " ", name)
	return admin.ActionOutcome{Stream: stream, Destination: name, Action: action, DeadLetters: 3}, a.err
}

func TestActions(t *testing.T) {
	json := []string{"Content-Type", "application/json"}
	for _, test := range []struct {
		method, path, body string
		header             []string
		err                error
		code               int
		what               string
	}{
		{"POST", "/v1/destinations/s/d/pause", "", nil, nil, 200, "pause s d"},
		{"POST", "/v1/destinations/s/d/resume", "{}", json, nil, 200, "resume s d"},
		{"POST", "/v1/destinations/s%2F1/d%20d/retry", "", json, nil, 200, "retry s/1 d d"},
		{"POST", "/v1/destinations/s/d/forget", "", nil, nil, 200, "forget s d"},
		{"POST", "/v1/destinations/s/d/forget", "", nil, fmt.Errorf("%w: x", admin.ErrNoDestination), 404, "forget s d"},
		{"POST", "/v1/destinations/s/d/forget", "", nil, fmt.Errorf("%w: x", admin.ErrConflict), 409, "forget s d"},
		{"POST", "/v1/destinations/s/d/forget", "", nil, fmt.Errorf("%w: x", admin.ErrUnavailable), 503, "forget s d"},
		{"POST", "/v1/destinations/s/d/forget", "", nil, errors.New("x"), 500, "forget s d"},
		{"POST", "/v1/destinations/s/d/forget", "", []string{"Origin", "http://evil.example"}, nil, 403, ""},
		{"POST", "/v1/destinations/s/d/forget", "", []string{"Sec-Fetch-Site", "cross-site"}, nil, 403, ""},
		{"POST", "/v1/destinations/s/d/forget", "", []string{"Content-Type", "application/x-www-form-urlencoded"}, nil, 415, ""},
		{"POST", "/v1/destinations/s/d/forget", "{}", nil, nil, 415, ""},
		{"GET", "/v1/destinations/s/d/forget", "", nil, nil, 405, ""},
		{"POST", "/v1/destinations/s/d/explode", "", nil, nil, 404, ""},
	} {
		d := &acted{err: test.err}
		w, r := httptest.NewRecorder(), httptest.NewRequest(test.method, test.path, strings.NewReader(test.body))
		if test.header != nil {
			r.Header.Set(test.header[0], test.header[1])
		}
		admin.New(admin.Options{Source: &source{}, Actions: d}).ServeHTTP(w, r)
		if w.Code != test.code || d.what != test.what {
			t.Errorf("%s %s %q %q: got %d and %q, want %d and %q", test.method, test.path, test.body, test.header, w.Code, d.what, test.code, test.what)
		}
		if w.Code == 200 {
			wantText(t, w.Body.String(), `"dead_letters": 3`, `"dropped": {`)
		}
	}
}

// many is a Destinations with one that fails.
type many struct {
	mu   sync.Mutex
	done []string
}

func (m *many) Act(_ context.Context, stream, name string, action admin.Action) (out admin.ActionOutcome, err error) {
	if stream == "gone" {
		return out, fmt.Errorf("%w: gone", admin.ErrNoDestination)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done = append(m.done, fmt.Sprint(action, " ", stream, " ", name))
	return out, nil
}

// One request acts on all the destinations of a group, also behind one at which it fails.
func TestActions_OnAGroup(t *testing.T) {
	for _, test := range []struct {
		kind, body string
		code       int
		done       []string
		want       string
	}{
		{"application/json", `{"destinations": [{"stream": "gone", "destination": "d"}, {"stream": "s/1", "destination": "a"}, {"stream": "s2", "destination": "b"}]}`,
			200, []string{"retry s/1 a", "retry s2 b"}, `"reason": "no such destination: gone"`},
		{"application/json", `{"destinations": [{"stream": "s", "destination": "a"}]}`, 200, []string{"retry s a"}, `"refused": []`},
		{"application/json", `{"destinations": []}`, 400, nil, "want {"},
		{"application/json", `{"destination": [{"stream": "s", "destination": "a"}]}`, 400, nil, "want {"},
		{"application/json", "", 400, nil, "want {"},
		{"application/x-www-form-urlencoded", `{"destinations": [{"stream": "s", "destination": "a"}]}`, 415, nil, "want application/json"},
	} {
		m := &many{}
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/v1/destinations/retry", strings.NewReader(test.body))
		r.Header.Set("Content-Type", test.kind)
		admin.New(admin.Options{Source: &source{}, Actions: m}).ServeHTTP(w, r)
		slices.Sort(m.done)
		if w.Code != test.code || !slices.Equal(m.done, test.done) {
			t.Errorf("%s: got %d and %q, want %d and %q", test.body, w.Code, m.done, test.code, test.done)
		}
		wantText(t, w.Body.String(), test.want)
		if test.code == 200 {
			wantText(t, w.Body.String(), fmt.Sprintf(`"done": %d`, len(test.done)))
		}
	}
}
