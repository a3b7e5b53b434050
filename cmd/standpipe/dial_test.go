package main

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

func writeSecret(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// secured is an admin listener over TLS, at an address or a socket, that requires a token. ca is the file of
// the certificate to trust.
func secured(t *testing.T, network, address string) (s *httptest.Server, ca string) {
	t.Helper()
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer good" {
			http.Error(w, "the token is not known here", http.StatusUnauthorized)
			return
		}
		w.Write([]byte("{}"))
	}))
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s.Listener.Close()
	s.Listener = l
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, writeSecret(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
}

// adminCommands are the commands that use an admin listener.
func adminCommands(t *testing.T) [][]string {
	return [][]string{{"status"}, {"status", "--cost"}, {"status", "--json"}, {"dead", "ls"}, {"dead", "show", "1"},
		{"dead", "drop", "1"}, {"dead", "requeue", "1"}, {"cost", writeConfig(t, goodConfig)}}
}

func TestDial_TLSWithAToken(t *testing.T) {
	s, ca := secured(t, "tcp", "127.0.0.1:0")
	address := s.Listener.Addr().String()
	good, bad := writeSecret(t, "good\n"), writeSecret(t, "bad")
	for _, command := range adminCommands(t) {
		for _, tt := range []struct {
			flags []string
			code  int
			says  string
		}{
			{[]string{"--ca-file", ca, "--token-file", good}, 0, ""},
			{[]string{"--ca-file", ca, "--token-file", bad}, 1, "answers 401 Unauthorized: the token is not known here"},
			{[]string{"--tls", "--token-file", good}, 1, "certificate signed by unknown authority"},
			{nil, 1, "answers 400 Bad Request: Client sent an HTTP request to an HTTPS server."},
		} {
			got := runWith(append(append(command, "--address", address), tt.flags...)...)
			if got.code != tt.code || !strings.Contains(got.stderr, tt.says) {
				t.Errorf("%q %q: got %+v, want %d and %q", command, tt.flags, got, tt.code, tt.says)
			}
		}
	}
}

// TestDial_TLSOnASocket: the certificate of a socket is one of localhost, which this one is not.
func TestDial_TLSOnASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, ca := secured(t, "unix", path)
	got := runWith("status", "--address", "unix://"+path, "--ca-file", ca)
	if got.code != 1 || !strings.Contains(got.stderr, "not localhost") {
		t.Errorf("got %+v", got)
	}
}

func TestDial_TokenNeedsTLS(t *testing.T) {
	token := writeSecret(t, "good")
	for _, command := range append(adminCommands(t), []string{"put", "clicks"}) {
		got := runWith(append(command, "--address", "192.0.2.1:1", "--token-file", token)...)
		if got.code != 2 || !strings.Contains(got.stderr, "a token without TLS is for this host only") {
			t.Errorf("%q: got %+v", command, got)
		}
	}
}

func TestDial_FilesWithoutTokenOrCertificate(t *testing.T) {
	for name, tt := range map[string]struct{ flag, text, want string }{
		"no token":       {"--token-file", " \n", "has to hold one token; got 2 bytes"},
		"two tokens":     {"--token-file", "a\nb\n", "has to hold one token; got 4 bytes"},
		"no certificate": {"--ca-file", "x", "holds none in its 1 bytes"},
	} {
		for _, command := range []string{"status", "put"} {
			args := []string{command, tt.flag, writeSecret(t, tt.text), "--address", "127.0.0.1:1"}
			if command == "put" {
				args = append(args, "clicks")
			}
			if got := runWith(args...); got.code != 1 || !strings.Contains(got.stderr, tt.want) {
				t.Errorf("%s: %s: got %+v", command, name, got)
			}
		}
	}
}

func TestParseAddress(t *testing.T) {
	tests := []struct{ address, network, target string }{
		{"127.0.0.1:7712", "tcp", "127.0.0.1:7712"},
		{"[::1]:7712", "tcp", "[::1]:7712"},
		{":7712", "tcp", ":7712"},
		{"unix:///run/a.sock", "unix", "/run/a.sock"},
		{"unix://run/a.sock", "", ""},
		{"host", "", ""},
		{"host:", "", ""},
		{"http://host:1/", "", ""},
		{"", "", ""},
	}
	for _, test := range tests {
		network, target, err := cli.ParseAddress(test.address)
		if network != test.network || target != test.target || (err != nil) != (test.network == "") {
			t.Errorf("%q: got %q, %q, %v", test.address, network, target, err)
		}
	}
}
