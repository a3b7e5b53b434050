package awsclient_test

import (
	"crypto/tls"
	"io"
	"log"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/standpipe/standpipe/test/certkit"
	"github.com/standpipe/standpipe/test/fakeaws"
)

// Each request has a connection of its own, and all but the first resume the session of the first.
func TestTLS_SessionsAreResumed(t *testing.T) {
	envKeys(t)
	dir := t.TempDir()
	ca := certkit.New(t, dir, "ca")
	t.Setenv("AWS_CA_BUNDLE", filepath.Join(dir, "ca.pem"))
	pair := must[tls.Certificate](t)(tls.LoadX509KeyPair(ca.Issue("service", certkit.Localhost("service"))))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var handshakes, resumed atomic.Int64
		srv := httptest.NewUnstartedServer(fakeaws.Start(t))
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: version, VerifyConnection: func(s tls.ConnectionState) error {
			handshakes.Add(1)
			if s.DidResume {
				resumed.Add(1)
			}
			return nil
		}}
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.Config.SetKeepAlivesEnabled(false)
		srv.StartTLS()
		k := openAt(t, srv.URL, "s")
		for range 3 {
			expectStored(t, k, true)
		}
		k.Close()
		srv.Close()
		if handshakes.Load() != 3 || resumed.Load() != 2 {
			t.Errorf("%s: got %d handshakes, %d of them resumed; want 3 and 2", tls.VersionName(version), handshakes.Load(), resumed.Load())
		}
	}
}
