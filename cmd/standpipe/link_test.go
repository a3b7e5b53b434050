package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/standpipe/standpipe/agent/admin"
)

// links notes changes of the link.
type links struct {
	admin.Source
	set []bool
}

func (l *links) SetLink(up bool) { l.set = append(l.set, up) }

func TestLink_UpAndDown(t *testing.T) {
	l := &links{}
	s := httptest.NewServer(admin.New(admin.Options{Source: l, Link: l}))
	defer s.Close()
	for _, to := range []string{"down", "up"} {
		if got := runWith("link", to, "--address", s.Listener.Addr().String()); got != (outcome{0, "link: " + to + "\n", ""}) {
			t.Errorf("%s: got %+v", to, got)
		}
	}
	if len(l.set) != 2 || l.set[0] || !l.set[1] {
		t.Errorf("got %v, want down and up", l.set)
	}
	if got := runWith("link", "sideways", "--address", s.Listener.Addr().String()); got.code == 0 || len(l.set) != 2 {
		t.Errorf("sideways: got %+v", got)
	}
	response, err := http.Get(s.URL + "/v1/link/up")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed || len(l.set) != 2 {
		t.Errorf("GET: got %s and %v, want 405 and no change", response.Status, l.set)
	}
}
