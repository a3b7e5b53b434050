package access_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/internal/access"
)

// emptied are the ways in which an operator revokes everything in a file, and unusable the ways in which a file becomes
// unusable without that.
var (
	emptied = map[string]func(path string) error{
		"truncated":      func(path string) error { return os.Truncate(path, 0) },
		"removed":        os.Remove,
		"moved away":     func(path string) error { return os.Rename(path, path+".old") },
		"blank lines":    func(path string) error { return os.WriteFile(path, []byte("\n \r\n"), 0o600) },
		"a comment":      func(path string) error { return os.WriteFile(path, []byte("# none\n"), 0o600) },
		"a dangling one": func(path string) error { return errors.Join(os.Remove(path), os.Symlink(path+".absent", path)) },
		"folder removed": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
	}
	unusable = map[string]func(path string) error{
		"a folder":        func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"a loop":          func(path string) error { return errors.Join(os.Remove(path), os.Symlink(path, path)) },
		"not one a line":  func(path string) error { return os.WriteFile(path, []byte("-----BEGIN nothing\n"), 0o600) },
		"half of a block": func(path string) error { return os.WriteFile(path, []byte("-----BEGIN CERTIFICATE-----\nMII"), 0o600) },
	}
)

// tokensAfter has the identity "meters" and the listener's own tokens, changes their files and returns the identities
// to which their tokens, and the token of the identity "gauges", belong then.
func tokensAfter(t *testing.T, change func(path string) error, refresh bool) (meters, own, gauges, said string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		paths := make(map[string]string)
		for _, name := range []string{"meters", "own", "gauges"} {
			paths[name] = filepath.Join(t.TempDir(), "tokens")
			writeTokens(t, paths[name], name+"-token")
		}
		r, log := register(t, access.Identity{Name: "meters", TokenFile: paths["meters"]}, access.Identity{Name: "gauges", TokenFile: paths["gauges"]})
		g := guard(t, r, paths["own"], nil)
		for _, name := range []string{"meters", "own"} {
			if err := change(paths[name]); err != nil {
				t.Fatal(err)
			}
		}
		writeTokens(t, paths["gauges"], "another-token")
		if refresh {
			r.Refresh()
			g.Refresh()
		} else {
			time.Sleep(time.Second)
		}
		meters, own = who(g, access.Shown{}.WithToken("meters-token")), who(g, access.Shown{}.WithToken("own-token"))
		gauges = who(g, access.Shown{}.WithToken("another-token"))
		if old := who(g, access.Shown{}.WithToken("gauges-token")); old == "<gauges>" {
			t.Errorf("the token of another identity that is gone is taken")
		}
		said = log.String()
	})
	return meters, own, gauges, said
}

func TestTokenFile_RevokesWhenItIsEmptiedOrGone(t *testing.T) {
	for name, change := range emptied {
		for _, refresh := range []bool{false, true} {
			meters, own, gauges, said := tokensAfter(t, change, refresh)
			if want := "the token is not known here"; meters != want || own != want || gauges != "<gauges>" {
				t.Errorf("%s: the identity's token is of %s, the listener's of %s, another identity's new one of %s", name, meters, own, gauges)
			}
			if got := strings.Count(said, "[WARN]  token file is empty or gone; its tokens are revoked"); got != 2 {
				t.Errorf("%s: it is said %d times, want once for each file: %s", name, got, said)
			}
		}
	}
}

func TestTokenFile_StaysInForceWhenItCannotBeUsed(t *testing.T) {
	for name, change := range unusable {
		meters, own, gauges, said := tokensAfter(t, change, false)
		if meters != "<meters>" || own != "<>" || gauges != "<gauges>" {
			t.Errorf("%s: the identity's token is of %s, the listener's of %s, another identity's new one of %s", name, meters, own, gauges)
		}
		if got := strings.Count(said, "[ERROR] changed tokens can't be used"); got != 2 {
			t.Errorf("%s: it is said %d times, want once for each file: %s", name, got, said)
		}
	}
}

// A file that is written in place is empty for a moment.
func TestTokenFile_MayBeWrittenInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "tokens")
		writeTokens(t, path, "old")
		r, said := register(t, access.Identity{Name: "meters", TokenFile: path})
		g := guard(t, r, "", nil)
		writeTokens(t, path, "")
		done := make(chan struct{})
		go func() {
			defer close(done)
			time.Sleep(50 * time.Millisecond)
			writeTokens(t, path, "old\nnew")
		}()
		r.Refresh()
		if got := who(g, access.Shown{}.WithToken("old")); got != "<meters>" || said.Len() > 0 {
			t.Errorf("got %s, said %s", got, said)
		}
		<-done
	})
}

// Identities are set at a reload: one whose tokens were revoked does not stand in the way of the rest.
func TestTokenFile_MayBeEmptyAtAReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	writeTokens(t, path, "one")
	meters := access.Identity{Name: "meters", TokenFile: path}
	r, _ := register(t, meters)
	g := guard(t, r, "", nil)
	writeTokens(t, path, "")
	if err := r.Set([]access.Identity{meters, {Name: "gauges", UIDs: []int64{7}}}); err != nil {
		t.Fatal(err)
	}
	if got := who(g, access.Shown{}.WithToken("one")); got != "the token is not known here" {
		t.Errorf("the token: got %s", got)
	}
	if got := who(g, access.Shown{Peer: &access.Peer{UID: 7}}); got != "<gauges>" {
		t.Errorf("the new identity: got %s", got)
	}
	if err := os.WriteFile(path, []byte("two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Refresh()
	if got := who(g, access.Shown{}.WithToken("two")); got != "<meters>" {
		t.Errorf("the new token: got %s", got)
	}
	if err := r.Set([]access.Identity{{Name: "meters", TokenFile: path + ".absent"}}); err == nil {
		t.Error("another token file that is not there is taken")
	}
}

func TestClientCA_IsOneThingAndTheCertificateAnother(t *testing.T) {
	for _, changes := range []map[string]func(path string) error{emptied, unusable} {
		for name, change := range changes {
			ca := newAuthority(t)
			ca.issue("server", "first", "agent")
			ca.issue("meter", "meter")
			clients := filepath.Join(t.TempDir(), "clients.pem")
			text, err := os.ReadFile(ca.Path("ca.pem"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(clients, text, 0o600); err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			files := access.Files{Cert: ca.Path("server.pem"), Key: ca.Path("server.key"), ClientCA: clients}
			c, err := access.OpenCertificate(files, hclog.New(&hclog.LoggerOptions{Output: &said}))
			if err != nil {
				t.Fatal(err)
			}
			meter := ca.client("meter")
			// The key is being renewed, and is not there while the authority changes.
			if err := errors.Join(change(clients), os.Rename(ca.Path("server.key"), ca.Path("server.key")+".old")); err != nil {
				t.Fatal(err)
			}
			c.Refresh()
			got, err := greet(t, c.TLS(), meter)
			_, gone := emptied[name]
			if gone && err == nil {
				t.Errorf("%s: what the authority has signed is taken", name)
			}
			if !gone && (err != nil || got != "first") {
				t.Errorf("%s: got %q, %v", name, got, err)
			}
			if got := strings.Contains(said.String(), "[WARN]  client CA file is empty or gone; no client certificate is accepted"); got != gone {
				t.Errorf("%s: said %s", name, &said)
			}
			if err := os.MkdirAll(filepath.Dir(clients), 0o700); err != nil {
				t.Fatal(err)
			}
			os.RemoveAll(clients)
			if err := os.WriteFile(clients, text, 0o600); err != nil {
				t.Fatal(err)
			}
			ca.issue("server", "second", "agent")
			c.Refresh()
			if got, err := greet(t, c.TLS(), meter); got != "second" || err != nil {
				t.Errorf("%s: once all is well: got %q, %v", name, got, err)
			}
		}
	}
}

// The error of an unusable token file names the identity and its place in the configuration.
func TestTokenFile_ErrorNamesTheIdentity(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(missing, []byte("two words\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := access.NewRegister(hclog.NewNullLogger()).Set([]access.Identity{{Name: "shop", Where: "agent.hcl:3,1", TokenFile: missing}})
	if err == nil || !strings.HasPrefix(err.Error(), `agent.hcl:3,1: identity "shop": read tokens: `) {
		t.Errorf("got %v", err)
	}
}
