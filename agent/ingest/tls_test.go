package ingest_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/ingestkit"
)

// certificate returns a server's configuration and that of a client who trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{RootCAs: roots, ServerName: "example.com"}
}

func TestTLS_OverGRPC(t *testing.T) {
	server, client := certificate(t)
	s := ingestkit.Serve(t, ingest.Options{Type: ingest.GRPC, Log: ingestkit.NewLog(t), Network: "tcp", Address: "127.0.0.1:0", TLS: server})
	conn, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(client)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := standpipev1.NewIngestClient(conn).Append(t.Context(), ingestkit.Request("bytes", "a")); err != nil {
		t.Error(err)
	}
	plain := standpipev1.NewIngestClient(ingestkit.Dial(t, s.Addr()))
	if _, err := plain.Append(t.Context(), ingestkit.Request("bytes", "a")); err == nil {
		t.Error("a producer without TLS is served")
	}
}

func TestTLS_OnASocket(t *testing.T) {
	server, client := certificate(t)
	log := ingestkit.NewLog(t)
	s := ingestkit.Serve(t, ingest.Options{Type: ingest.Socket, Log: log, Network: "tcp", Address: "127.0.0.1:0", TLS: server})
	conn, err := tls.Dial("tcp", s.Addr().String(), client)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := ingestkit.NewProducer(t, conn)
	p.Send(`{"stream":"text","key":"k","data":1}`)
	p.Finish()
	p.Expect(`{"offset":1}`)
	p.ExpectEnd()
	ingestkit.Connect(t, s.Addr()).Send(`{"stream":"text","key":"k","data":2}` + "\n")
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if got := len(log.Stored()); got != 1 {
		t.Errorf("stored %d events, want the one that came over TLS", got)
	}
}
