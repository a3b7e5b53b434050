package access_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/internal/access"
)

// writeTokens writes a token file that only its owner can read.
func writeTokens(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// register returns a register with the identities, and its log.
func register(t *testing.T, identities ...access.Identity) (r *access.Register, said *bytes.Buffer) {
	t.Helper()
	said = new(bytes.Buffer)
	r = access.NewRegister(hclog.New(&hclog.LoggerOptions{Output: said}))
	if err := r.Set(identities); err != nil {
		t.Fatal(err)
	}
	return r, said
}

func guard(t *testing.T, r *access.Register, tokens string, names []string) *access.Guard {
	t.Helper()
	g, err := access.NewGuard(r, tokens, names)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// who returns the name of the sender, or the error for an unknown one.
func who(g *access.Guard, shown access.Shown) string {
	s, err := g.Who(&shown)
	if err != nil {
		return err.Error()
	}
	return "<" + s.Name() + ">"
}

func TestGuard_Who(t *testing.T) {
	dir := t.TempDir()
	meters, own := filepath.Join(dir, "meters"), filepath.Join(dir, "own")
	writeTokens(t, meters, "# of the meters\nalpha\r\n\n  beta  \n")
	writeTokens(t, own, "gamma")
	r, _ := register(t,
		access.Identity{Name: "meters", TokenFile: meters, UIDs: []int64{1001}, Certificates: []string{"meter-*"}},
		access.Identity{Name: "gauges", GIDs: []int64{100}, Certificates: []string{"*.gauges.example", "spiffe://x/*"}})
	every, some := guard(t, r, own, nil), guard(t, r, "", []string{"gauges"})
	none := access.Shown{}
	peer := func(uid, gid uint32) access.Shown { return access.Shown{Peer: &access.Peer{UID: uid, GID: gid}} }
	id, err := url.Parse("spiffe://x/gauge")
	if err != nil {
		t.Fatal(err)
	}
	cert := func(name string, dns ...string) access.Shown {
		return access.Shown{Certificate: &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: dns}}
	}
	const unknown = "the token is not known here"
	for _, tt := range []struct {
		g     *access.Guard
		shown access.Shown
		want  string
	}{
		{every, none, "no token is shown"},
		{every, none.WithToken("alpha"), "<meters>"},
		{every, none.WithToken("beta"), "<meters>"},
		{every, none.WithToken("gamma"), "<>"},
		{every, none.WithToken("# of the meters"), unknown},
		{every, none.WithToken("alph"), unknown},
		{every, peer(1001, 1).WithToken("wrong"), unknown},
		{every, peer(1001, 1), "<meters>"},
		{every, peer(1, 100), "<gauges>"},
		{every, peer(100, 1001), "no token is shown, and no identity that may send here has the process's uid 100, gid 1001 or another of its groups"},
		{every, cert("meter-7"), "<meters>"},
		{every, cert("", "a.gauges.example"), "<gauges>"},
		{every, access.Shown{Certificate: &x509.Certificate{URIs: []*url.URL{id}}}, "<gauges>"},
		{every, cert("gauges.example"), `no token is shown, and the certificate "gauges.example" is not that of an identity that may send here`},
		{every, cert(""), `no token is shown, and the certificate "" is not that of an identity that may send here`},
		{some, none.WithToken("alpha"), unknown},
		{some, none.WithToken("gamma"), unknown},
		{some, peer(1001, 100), "<gauges>"},
	} {
		if got := who(tt.g, tt.shown); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// TestGuard_NamesOfACertificate: each of its names identifies, and an empty name does not.
func TestGuard_NamesOfACertificate(t *testing.T) {
	id, err := url.Parse("spiffe://x/7")
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: "common"}, DNSNames: []string{"a.example", "b.example"}, EmailAddresses: []string{"m@x.example"},
		URIs: []*url.URL{id}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 7)},
	}
	known := func(c *x509.Certificate, pattern string) bool {
		r, _ := register(t, access.Identity{Name: "a", Certificates: []string{pattern}})
		return who(guard(t, r, "", nil), access.Shown{Certificate: c}) == "<a>"
	}
	for _, pattern := range []string{"common", "a.example", "b.example", "m@x.example", "spiffe://x/7", "192.0.2.7", "*"} {
		if !known(c, pattern) {
			t.Errorf("%s: it is not known", pattern)
		}
	}
	for _, pattern := range []string{"commo", "ommon", "c.example", ""} {
		if known(c, pattern) {
			t.Errorf("%s: it is known", pattern)
		}
	}
	if known(&x509.Certificate{}, "*") {
		t.Error("a certificate without a name is known")
	}
}

// TestGuard_UnverifiedCertificate: TLS may have received one without a known authority.
func TestGuard_UnverifiedCertificate(t *testing.T) {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: "meter"}}
	state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}}
	if got := access.OfConnection(nil, state, nil).Certificate; got != nil {
		t.Error("it is taken for one that says who it is")
	}
	state.VerifiedChains = [][]*x509.Certificate{{c}}
	if got := access.OfConnection(nil, state, nil).Certificate; got != c {
		t.Errorf("got %v once it is verified", got)
	}
}

func TestAuthorization(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own")
	writeTokens(t, own, "s3cret")
	r, _ := register(t)
	g := guard(t, r, own, nil)
	const fault = "the request's authorization is neither of the kind Bearer nor Basic"
	for header, want := range map[string]string{
		"": "no token is shown", "Bearer ": "no token is shown", "Bearer s3cret": "<>", "bEARER  s3cret ": "<>",
		"Basic YW55Ym9keTpzM2NyZXQ=": "<>", "basic OnMzY3JldA==": "<>", "Bearer wrong": "the token is not known here",
		"Basic YW55Ym9keTpzM2NyZXQ=!": fault, "Basic czNjcmV0": fault, "s3cret": fault, "Negotiate s3cret": fault,
	} {
		if got := who(g, access.Shown{}.WithAuthorization(header)); got != want {
			t.Errorf("%q: got %s, want %s", header, got, want)
		}
	}
}

// TestGuard_FirstMatchingIdentity: the first accepted identity with matching credentials wins.
func TestGuard_FirstMatchingIdentity(t *testing.T) {
	r, _ := register(t, access.Identity{Name: "a", UIDs: []int64{1}}, access.Identity{Name: "b", UIDs: []int64{1}}, access.Identity{Name: "c", GIDs: []int64{1}})
	shown := access.Shown{Peer: &access.Peer{UID: 1, GID: 1}}
	for _, tt := range []struct {
		names []string
		want  string
	}{{nil, "<a>"}, {[]string{"c", "b"}, "<b>"}, {[]string{"c"}, "<c>"}} {
		if got := who(guard(t, r, "", tt.names), shown); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.names, got, tt.want)
		}
	}
	if _, err := guard(t, r, "", []string{}).Who(&shown); err == nil {
		t.Error("a guard that takes no identity takes one")
	}
}

func TestIdentity_Streams(t *testing.T) {
	r, _ := register(t,
		access.Identity{Name: "all", UIDs: []int64{0}},
		access.Identity{Name: "some", UIDs: []int64{1}, Streams: []string{"clicks", "meter-*-x*z"}},
		access.Identity{Name: "none", UIDs: []int64{2}, Streams: []string{}},
		access.Identity{Name: "overlap", UIDs: []int64{3}, Streams: []string{"ab*ba"}})
	g := guard(t, r, "", nil)
	for uid, streams := range []map[string]bool{
		{"clicks": true, "": true},
		{"clicks": true, "clicks2": false, "meter-1-xyz": true, "meter--xz": true, "meter-xz": false, "meter-1-xy": false},
		{"clicks": false, "": false},
		{"aba": false, "abba": true, "abcba": true, "xabba": false, "abbax": false},
	} {
		s, err := g.Who(&access.Shown{Peer: &access.Peer{UID: uint32(uid), GID: 9}})
		if err != nil {
			t.Fatal(err)
		}
		for stream, want := range streams {
			if got := s.MayWrite(stream); got != want {
				t.Errorf("%s, %q: got %v, want %v", s.Name(), stream, got, want)
			}
		}
	}
}

func TestTokenFile_IsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		meters, own := filepath.Join(dir, "meters"), filepath.Join(dir, "own")
		writeTokens(t, meters, "one")
		writeTokens(t, own, "two")
		r, said := register(t, access.Identity{Name: "meters", TokenFile: meters})
		g := guard(t, r, own, nil)
		pass, err := g.Admit(access.Shown{}.WithToken("one"))
		if err != nil {
			t.Fatal(err)
		}
		writeTokens(t, meters, "three")
		writeTokens(t, own, "fourth")
		if got := who(g, access.Shown{}.WithToken("one")); got != "<meters>" {
			t.Errorf("within a second: got %s", got)
		}
		time.Sleep(time.Second)
		for token, want := range map[string]string{
			"one": "the token is not known here", "two": "the token is not known here", "three": "<meters>", "fourth": "<>",
		} {
			if got := who(g, access.Shown{}.WithToken(token)); got != want {
				t.Errorf("%s: got %s, want %s", token, got, want)
			}
		}
		if _, err := pass.Holder(); err == nil || err.Error() != "the token is not known here any more" {
			t.Errorf("who has shown a token that is gone: got %v", err)
		}
		writeTokens(t, meters, "no token at all")
		writeTokens(t, own, "nor here")
		r.Refresh()
		g.Refresh()
		for token, want := range map[string]string{"three": "<meters>", "fourth": "<>"} {
			if got := who(g, access.Shown{}.WithToken(token)); got != want {
				t.Errorf("%s, after files that can't be used: got %s, want %s", token, got, want)
			}
		}
		time.Sleep(time.Minute)
		who(g, access.Shown{}.WithToken("three"))
		if got := strings.Count(said.String(), "can't be used"); got != 2 {
			t.Errorf("it is said %d times, want once for each file: %s", got, said)
		}
		if strings.Contains(said.String(), "no token at all") || strings.Contains(said.String(), "nor here") {
			t.Errorf("the log tells what the file holds: %s", said)
		}
	})
}

// TestPass_OfALoneStreamEndsWithItsToken: no other request checks the file.
func TestPass_OfALoneStreamEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for name, token := range map[string]string{"meters": "one", "own": "two"} {
			writeTokens(t, filepath.Join(dir, "meters"), "one")
			writeTokens(t, filepath.Join(dir, "own"), "two")
			r, _ := register(t, access.Identity{Name: "meters", TokenFile: filepath.Join(dir, "meters")})
			pass, err := guard(t, r, filepath.Join(dir, "own"), nil).Admit(access.Shown{}.WithToken(token))
			if err != nil {
				t.Fatal(err)
			}
			writeTokens(t, filepath.Join(dir, name), "another")
			if _, err := pass.Holder(); err != nil {
				t.Errorf("%s: within a second: %v", name, err)
			}
			time.Sleep(time.Second)
			if _, err := pass.Holder(); err == nil {
				t.Errorf("%s: the token that is gone is good for ever", name)
			}
		}
	})
}

func TestRegister_SetAgain(t *testing.T) {
	peer := access.Shown{Peer: &access.Peer{UID: 7}}
	limited := access.Identity{Name: "a", UIDs: []int64{7}, MaxEvents: 10}
	r, _ := register(t, limited)
	g := guard(t, r, "", nil)
	pass, err := g.Admit(peer)
	if err != nil {
		t.Fatal(err)
	}
	holder := func() *access.Sender {
		t.Helper()
		s, err := pass.Holder()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if wait := holder().Take(10, 0); wait != 0 {
		t.Errorf("got a wait of %s", wait)
	}
	limited.Streams = []string{"x"}
	if err := r.Set([]access.Identity{limited}); err != nil {
		t.Fatal(err)
	}
	if s := holder(); s.MayWrite("y") || s.Take(10, 0) == 0 {
		t.Error("the new streams are not held to, or the pace began anew")
	}
	for _, change := range []func(){func() { limited.MaxEvents = 20 }, func() { limited.MaxBytes = 1 }} {
		change()
		if err := r.Set([]access.Identity{limited}); err != nil {
			t.Fatal(err)
		}
		if wait := holder().Take(20, 1); wait != 0 {
			t.Errorf("a new limit: got a wait of %s", wait)
		}
	}
	if err := r.Set([]access.Identity{{Name: "b", TokenFile: "absent"}}); err == nil {
		t.Error("a token file that is not there is taken")
	}
	holder()
	if err := r.Set(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := pass.Holder(); err == nil {
		t.Error("an identity that is gone still holds the pass")
	}
}

func TestTokenFile_Unusable(t *testing.T) {
	path, other := filepath.Join(t.TempDir(), "tokens"), filepath.Join(t.TempDir(), "tokens")
	writeTokens(t, other, "twice")
	for text, want := range map[string]string{
		"":                           "it has no token",
		"# none\n":                   "it has no token",
		"good\nse cret\n":            "line 2 has a character that a token is not written with",
		"se\x00cret":                 "line 1 has a character that a token is not written with",
		"sé-cret":                    "line 1 has a character that a token is not written with",
		strings.Repeat("x", 1<<20+1): "has 1048577 bytes; allowed are 1048576",
		"twice":                      `is one of identity "a" too`,
	} {
		writeTokens(t, path, text)
		r, _ := register(t)
		err := r.Set([]access.Identity{{Name: "a", TokenFile: other}, {Name: "b", TokenFile: path}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "cret") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestTokenFile_ReadableByAllWarns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	writeTokens(t, path, "x")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	r, said := register(t)
	guard(t, r, path, nil)
	if !strings.Contains(said.String(), "everybody on this host can read a token file") {
		t.Errorf("got %s", said)
	}
}
