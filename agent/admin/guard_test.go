package admin_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/internal/access"
)

// guarded is a Server that takes the token "good" and, if ours is set, this process's user.
func guarded(t *testing.T, s *source, ours bool, o admin.Options) *admin.Server {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte("good\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := access.NewRegister(hclog.NewNullLogger())
	if ours {
		if err := r.Set([]access.Identity{{Name: "ours", UIDs: []int64{int64(os.Getuid())}}}); err != nil {
			t.Fatal(err)
		}
	}
	g, err := access.NewGuard(r, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Source, o.Guard = s, g
	return admin.New(o)
}

func TestGuard_Callers(t *testing.T) {
	s := &source{status: sample(), live: errors.New("destination archive makes no progress")}
	server := guarded(t, s, false, admin.Options{Dead: &dead{}})
	for _, tt := range []struct {
		path, authorization, want string
	}{
		{"/", "", "401 no token is shown"},
		{"/v1/status", "", "401 no token is shown"},
		{"/v1/status/", "", "401 no token is shown"},
		{"/metrics", "Bearer wrong", "401 the token is not known here"},
		{"/v1/dead", "Basic !", "401 the request's authorization is neither"},
		{"/v1/status", "Bearer good", "200 {"},
		{"/metrics", "Basic b3BzOmdvb2Q=", "200 # HELP"},
		{"/readyz", "", "200 ok"},
		{"/livez", "", "503 not ok\n"},
		{"/livez", "Bearer wrong", "503 not ok\n"},
		{"/livez", "Bearer good", "503 destination archive makes no progress\n"},
	} {
		r := httptest.NewRequest("GET", tt.path, nil)
		r.Header.Set("Authorization", tt.authorization)
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		code, text, _ := strings.Cut(tt.want, " ")
		if got := w.Result(); !strings.HasPrefix(got.Status, code) || !strings.HasPrefix(w.Body.String(), text) {
			t.Errorf("%s with %q: got %s %.60q, want %s", tt.path, tt.authorization, got.Status, w.Body, tt.want)
		}
		if asks := strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic "); asks != (code == "401") {
			t.Errorf("%s: a browser is asked for a password: %v", tt.path, asks)
		}
	}
	for _, path := range []string{"/v1/dead/requeue", "/v1/dead/drop"} {
		if w := ask(t, server, "POST", path); w.Code != 401 {
			t.Errorf("POST %s: got %d", path, w.Code)
		}
	}
}

// served answers on a socket until the test ends.
func served(t *testing.T, s *admin.Server) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return path
}

// over gets the status over a unix socket.
func over(path string, conf *tls.Config) (status string, err error) {
	transport := &http.Transport{TLSClientConfig: conf, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", path)
	}}
	defer transport.CloseIdleConnections()
	scheme := "http"
	if conf != nil {
		scheme = "https"
	}
	r, err := (&http.Client{Transport: transport}).Get(scheme + "://example.com/v1/status")
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	return r.Status, err
}

// TestGuard_Process: a process on a unix socket is identified by its user, also through TLS.
func TestGuard_Process(t *testing.T) {
	https := httptest.NewTLSServer(nil)
	defer https.Close()
	roots := x509.NewCertPool()
	roots.AddCert(https.Certificate())
	for _, secure := range []bool{false, true} {
		var o admin.Options
		var conf *tls.Config
		if secure {
			o.TLS, conf = &tls.Config{Certificates: https.TLS.Certificates}, &tls.Config{RootCAs: roots}
		}
		for ours, want := range map[bool]string{true: "200 OK", false: "401 Unauthorized"} {
			path := served(t, guarded(t, &source{status: sample()}, ours, o))
			if got, err := over(path, conf); err != nil || got != want {
				t.Errorf("TLS %v, known %v: got %s, %v", secure, ours, got, err)
			}
		}
	}
}
