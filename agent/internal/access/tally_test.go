package access_test

import (
	"maps"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/agent/internal/access"
)

// expectFigures compares all but the refusals' texts and times.
func expectFigures(t *testing.T, r *access.Register, want ...access.Figures) (known []access.Figures) {
	t.Helper()
	known, _ = r.Figures()
	if len(known) != len(want) {
		t.Fatalf("got the figures %+v, want of %d", known, len(want))
	}
	for i, w := range want {
		got := known[i]
		if got.Identity != w.Identity || got.Events != w.Events || got.Bytes != w.Bytes || !maps.Equal(got.Refused, w.Refused) {
			t.Errorf("got %+v, want %+v", got, w)
		}
	}
	return known
}

func TestFigures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := filepath.Join(t.TempDir(), "own")
		writeTokens(t, own, "master")
		a, b := access.Identity{Name: "a", UIDs: []int64{1}}, access.Identity{Name: "b", UIDs: []int64{2}}
		r, _ := register(t, a, b)
		expectFigures(t, r, access.Figures{Identity: "a"}, access.Figures{Identity: "b"})
		g := guard(t, r, own, nil)
		of := func(uid uint32) *access.Sender {
			s, err := g.Who(&access.Shown{Peer: &access.Peer{UID: uid}})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		of(1).Stored(2, 20)
		of(1).Stored(1, 5)
		time.Sleep(time.Minute)
		of(2).Refused(7, "rate", "too fast")
		of(2).Refused(3, "forbidden", strings.Repeat("ü", 300))
		of(2).Refused(1, "rate", "too fast again")
		shown := access.Shown{}.WithToken("master")
		master, err := g.Who(&shown)
		if err != nil {
			t.Fatal(err)
		}
		master.Stored(1, 1)

		// a changes its limits, and its figures go on; b is gone
		a.MaxEvents = 9
		if err := r.Set([]access.Identity{a}); err != nil {
			t.Fatal(err)
		}
		of(1).Stored(1, 0)
		known := expectFigures(t, r, access.Figures{Events: 1, Bytes: 1}, access.Figures{Identity: "a", Events: 4, Bytes: 25})
		if !known[1].LastStored.Equal(time.Now()) || !known[1].LastRefusal.At.IsZero() {
			t.Errorf("got %+v", known[1])
		}
	})
}

func TestFigures_KeepLastRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := register(t, access.Identity{Name: "a", UIDs: []int64{1}})
		g := guard(t, r, "", nil)
		s, err := g.Who(&access.Shown{Peer: &access.Peer{UID: 1}})
		if err != nil {
			t.Fatal(err)
		}
		s.Refused(7, "rate", "too fast")
		time.Sleep(time.Minute)
		s.Refused(3, "forbidden", "x"+strings.Repeat("ü", 300))
		known := expectFigures(t, r, access.Figures{Identity: "a", Refused: map[string]uint64{"rate": 7, "forbidden": 3}})
		if last := known[0].LastRefusal; !last.At.Equal(time.Now()) || last.Why != "x"+strings.Repeat("ü", 199) {
			t.Errorf("got %+v", last)
		}
	})
}

// TestFigures_CountUnknownCallers: the status has their origin, and no token.
func TestFigures_CountUnknownCallers(t *testing.T) {
	r, _ := register(t, access.Identity{Name: "a", UIDs: []int64{1}})
	g := guard(t, r, "", nil)
	refused := func(shown access.Shown) access.Unknown {
		t.Helper()
		if _, err := g.Admit(shown); err == nil {
			t.Fatal("it is admitted")
		}
		_, unknown := r.Figures()
		return unknown
	}
	tcp := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}
	got := refused(access.Shown{Addr: tcp}.WithToken("s3cret"))
	if got.Requests != 1 || got.LastRefusal.Why != "the token is not known here" || got.LastRefusal.From != "192.0.2.7:4711" {
		t.Errorf("got %+v", got)
	}
	got = refused(access.Shown{Addr: &net.UnixAddr{Name: "@"}, Peer: &access.Peer{UID: 7, GID: 8}}.WithToken("s3cret"))
	if got.Requests != 2 || got.LastRefusal.From != "a process of uid 7 and gid 8" {
		t.Errorf("got %+v", got)
	}
	got = refused(access.Shown{}.WithAuthorization("Negotiate s3cret"))
	if got.Requests != 3 || got.LastRefusal.From != "" || strings.Contains(got.LastRefusal.Why, "s3cret") {
		t.Errorf("got %+v", got)
	}
	if _, err := g.Admit(access.Shown{Peer: &access.Peer{UID: 1}}); err != nil {
		t.Error(err)
	}
	if _, unknown := r.Figures(); unknown.Requests != 3 {
		t.Errorf("who is known counts as unknown: %+v", unknown)
	}
}
