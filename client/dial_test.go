package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/client"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// fakeServer puts a fakeAgent behind gRPC. It requires a token, unless that is empty.
type fakeServer struct {
	standpipev1.UnimplementedIngestServer
	agent *fakeAgent
	token string
}

func (s *fakeServer) Append(ctx context.Context, m *standpipev1.AppendRequest) (*standpipev1.AppendResponse, error) {
	if got := strings.Join(metadata.ValueFromIncomingContext(ctx, "authorization"), " "); s.token != "" && got != "Bearer "+s.token {
		return nil, status.Error(codes.Unauthenticated, "the request's token is not known")
	}
	return s.agent.append(m)
}

func (s *fakeServer) AppendStream(wire standpipev1.Ingest_AppendStreamServer) error {
	for {
		m, err := wire.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r, err := s.agent.append(m)
		if err != nil {
			return err
		}
		if err := wire.Send(r); err != nil {
			return err
		}
	}
}

// serve listens until the test ends.
func serve(t testing.TB, network, address, token string, options ...grpc.ServerOption) (*fakeAgent, string) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	f := newFakeAgent()
	s := grpc.NewServer(options...)
	standpipev1.RegisterIngestServer(s, &fakeServer{agent: f, token: token})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(l)
	}()
	t.Cleanup(func() { s.Stop(); <-done })
	return f, l.Addr().String()
}

func dial(t testing.TB, address string, o client.Options) *client.Client {
	t.Helper()
	c, err := client.Dial(address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAppend(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	serve(t, "unix", socket, "")
	c := dial(t, "unix://"+socket, client.Options{})
	for i := range 3 {
		if offset, err := c.Append(t.Context(), "s", client.Event{Key: "k"}, client.Event{Key: "k"}); offset != uint64(2*i+1) || err != nil {
			t.Errorf("got offset %d, %v, want %d", offset, err, 2*i+1)
		}
	}
}

func TestAppendBatch(t *testing.T) {
	f, address := serve(t, "tcp", "127.0.0.1:0", "")
	c := dial(t, address, client.Options{})
	b := client.Batch{Stream: "s", Events: []client.Event{{Key: "k", Data: []byte("x")}}, Ack: client.AckDelivered, ProducerID: "p", Sequence: 7}
	if got, err := c.AppendBatch(t.Context(), b); err != nil || got != (client.Appended{First: 1, Count: 1, Ack: client.AckDurable}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := c.AppendBatch(t.Context(), b); err != nil || !got.Duplicate {
		t.Errorf("again: got %+v, %v, want a duplicate", got, err)
	}
	if m := f.requests[0]; m.Ack != standpipev1.Ack_ACK_DELIVERED || m.ProducerId != "p" || m.ProducerSequence != 7 {
		t.Errorf("got request %v", m)
	}
}

func TestAppend_ErrorHasTheReason(t *testing.T) {
	f, address := serve(t, "tcp", "127.0.0.1:0", "")
	f.rules = bad
	_, err := dial(t, address, client.Options{}).Append(t.Context(), "s", client.Event{Key: "k"}, client.Event{Key: "k", Data: []byte("bad")})
	e, ok := errors.AsType[*client.Error](err)
	if !ok || e.Code != codes.InvalidArgument || e.Event != 1 || e.Reason != "invalid" || !e.Final() {
		t.Errorf("got %+v", e)
	}
	if got, want := err.Error(), "append to s: INVALID_ARGUMENT: event 1: breaks a rule"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAppend_ToNobody(t *testing.T) {
	_, err := dial(t, "unix:///nobody/listens/here", client.Options{}).Append(t.Context(), "s", client.Event{Key: "k"})
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != codes.Unavailable || e.Final() || e.Event != client.NoEvent {
		t.Errorf("got %v", err)
	}
}

func TestToken_OverTLS(t *testing.T) {
	https := httptest.NewTLSServer(nil)
	defer https.Close()
	_, address := serve(t, "tcp", "127.0.0.1:0", "good", grpc.Creds(credentials.NewServerTLSFromCert(&https.TLS.Certificates[0])))
	roots := x509.NewCertPool()
	roots.AddCert(https.Certificate())
	for token, want := range map[string]codes.Code{"good": codes.OK, "bad": codes.Unauthenticated} {
		c := dial(t, address, client.Options{TLS: &tls.Config{RootCAs: roots}, Token: token})
		_, err := c.Append(t.Context(), "s", client.Event{Key: "k"})
		if e, _ := errors.AsType[*client.Error](err); want != codes.OK && (e == nil || e.Code != want) || want == codes.OK && err != nil {
			t.Errorf("%s: got %v, want %v", token, err, want)
		}
	}
}

func TestDial_Rejects(t *testing.T) {
	for _, test := range []struct {
		address string
		o       client.Options
		want    string
	}{
		{"", client.Options{}, "host:port and unix:///path are allowed"},
		{"localhost", client.Options{}, "host:port and unix:///path are allowed"},
		{"unix://relative", client.Options{}, "host:port and unix:///path are allowed"},
		{"example.com:7710", client.Options{Token: "t"}, "a token without TLS is for this host only"},
		{"127.0.0.1:7710", client.Options{Token: "t", Credentials: credentials.PerRPCCredentials(nobody{})}, "one of them is allowed"},
	} {
		if _, err := client.Dial(test.address, test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %q", test.address, err, test.want)
		}
	}
	for _, address := range []string{"localhost:1", "127.0.0.1:1", "[::1]:1", "unix:///s"} {
		dial(t, address, client.Options{Token: "t"})
	}
}

type nobody struct{}

func (nobody) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return nil, nil
}
func (nobody) RequireTransportSecurity() bool { return false }
