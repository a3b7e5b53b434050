package relay_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink/relay"
	"github.com/standpipe/standpipe/test/certkit"
	"github.com/standpipe/standpipe/test/testkit"
)

// issue writes an authority, NAME-ca.pem, and a certificate of it for this host: NAME.pem and NAME.key.
func issue(t *testing.T, dir, name string) (ca, cert, key string) {
	t.Helper()
	authority := certkit.New(t, dir, name+"-ca")
	cert, key = authority.Issue(name, certkit.Localhost(name))
	return authority.Path(name + "-ca.pem"), cert, key
}

// copyFile replaces a file, as a renewal of certificates does.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	testkit.Must(t, err)
	testkit.Must(t, os.WriteFile(to, text, 0o600))
}

func TestRelay_TLSAndTokenAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	ca, cert, key := issue(t, dir, "first")
	otherCA, otherCert, otherKey := issue(t, dir, "second")
	token, trusted := filepath.Join(dir, "token"), filepath.Join(dir, "trusted.pem")
	testkit.Must(t, os.WriteFile(token, []byte("wrong\n"), 0o600))
	copyFile(t, otherCA, trusted)

	pair, err := tls.LoadX509KeyPair(cert, key)
	testkit.Must(t, err)
	pool := x509.NewCertPool()
	clients, err := os.ReadFile(ca)
	testkit.Must(t, err)
	pool.AppendCertsFromPEM(clients)
	address := serveGuarded(t, &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})

	shown, shownKey := filepath.Join(dir, "shown.pem"), filepath.Join(dir, "shown.key")
	copyFile(t, otherCert, shown)
	copyFile(t, otherKey, shownKey)
	o := receiverless()
	o.Address = address
	o.TokenFile, o.TLS = token, &relay.TLS{CAFile: trusted, CertFile: shown, KeyFile: shownKey}
	s := open(t, o)
	all := events(1, 10)
	fails := func(code, text string) {
		t.Helper()
		s.Abort(t.Context())
		testkit.Eventually(t, 10*time.Second, func() error { // a connection that was tried before is tried again after a while
			_, err := ship(t, s, all)
			if err != nil && err.Class == shipper.Operator && err.Code == code && strings.Contains(err.Text, text) {
				return nil
			}
			s.Abort(t.Context())
			return &shipper.Error{Code: "got", Text: errText(err)}
		})
	}
	fails("tls", "x509") // the CA is not the receiver's
	copyFile(t, ca, trusted)
	fails("tls", "tls: ") // the CA of the client's certificate is not among the receiver's
	copyFile(t, cert, shown)
	copyFile(t, key, shownKey)
	fails("UNAUTHENTICATED", "token_file")
	testkit.Must(t, os.Remove(token))
	fails("credentials", "read token")
	testkit.Must(t, os.WriteFile(token, []byte("secret\n"), 0o600))
	s.Abort(t.Context())
	if _, err := ship(t, s, all); err != nil {
		t.Fatal(errText(err))
	}

	o.TLS = &relay.TLS{CAFile: trusted, CertFile: shown, KeyFile: shownKey, ServerName: "another.example"}
	s = open(t, o)
	fails("tls", "another.example")
}

// guarded stores nothing, and admits the token secret only.
type guarded struct {
	standpipev1.UnimplementedIngestServer
}

func (guarded) Append(ctx context.Context, m *standpipev1.AppendRequest) (*standpipev1.AppendResponse, error) {
	if got := metadata.ValueFromIncomingContext(ctx, "authorization"); len(got) != 1 || got[0] != "Bearer secret" {
		return nil, status.Error(codes.Unauthenticated, "the token is not known")
	}
	return &standpipev1.AppendResponse{FirstOffset: 1, Count: uint32(len(m.Events)), Ack: standpipev1.Ack_ACK_DURABLE}, nil
}

func serveGuarded(t *testing.T, c *tls.Config) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(c)))
	standpipev1.RegisterIngestServer(s, guarded{})
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

func errText(err *ranged.Error) string {
	if err == nil {
		return "no error"
	}
	return err.Error.Error()
}

func TestRelay_TokenNeedsTLSToOtherHosts(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	testkit.Must(t, os.WriteFile(token, []byte("secret"), 0o600))
	o := receiverless()
	o.TokenFile = token
	for address, refused := range map[string]bool{"gateway.site:7710": true, "10.0.0.1:7710": true, "127.0.0.1:7710": false, "unix:///run/s.sock": false} {
		o.Address = address
		s, err := relay.New(o)
		if refused != (err != nil && strings.Contains(err.Error(), "without TLS")) {
			t.Errorf("%s: got %v", address, err)
		}
		if err == nil {
			s.Close()
		}
	}
	o.Address, o.TLS = "gateway.site:7710", &relay.TLS{}
	if s, err := relay.New(o); err != nil {
		t.Errorf("with TLS: got %v", err)
	} else {
		s.Close()
	}
}

func receiverless() relay.Options { return (&receiver{address: "127.0.0.1:1"}).relayOptions() }
