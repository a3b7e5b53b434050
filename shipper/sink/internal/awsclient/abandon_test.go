package awsclient_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/certkit"
)

// lateTickets delays all writes of a server but the first, which ends the client's part of the handshake. So the client has sent
// its request by the time that it reads the tickets.
type lateTickets struct {
	net.Conn
	wrote bool
}

func (l *lateTickets) Write(p []byte) (int, error) {
	if l.wrote {
		time.Sleep(100 * time.Millisecond)
	}
	l.wrote = true
	return l.Conn.Write(p)
}

// A request that was given up while its response is outstanding ends its connection by a reset, also over TLS, where the
// client reads the server's tickets after it has sent the request.
func TestTLS_AbandonedRequestIsReset(t *testing.T) {
	envKeys(t)
	dir := t.TempDir()
	ca := certkit.New(t, dir, "ca")
	t.Setenv("AWS_CA_BUNDLE", filepath.Join(dir, "ca.pem"))
	pair := must[tls.Certificate](t)(tls.LoadX509KeyPair(ca.Issue("service", certkit.Localhost("service"))))
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()

	arrived, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			arrived <- err
			return
		}
		defer raw.Close()
		request, err := http.ReadRequest(bufio.NewReader(tls.Server(&lateTickets{Conn: raw}, &tls.Config{
			Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert, // else the tickets come before the client's part
		})))
		if err == nil {
			_, err = io.Copy(io.Discard, request.Body)
		}
		arrived <- err
		_, err = io.Copy(io.Discard, raw)
		ended <- err
	}()

	k := openAt(t, "https://"+l.Addr().String(), "s")
	defer k.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		k.Send(ctx, ofKey("k", "x"))
	}()
	if err := <-arrived; err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // for the tickets: without it the test passes, whatever the code does
	cancel()
	<-sent
	if err := <-ended; err == nil {
		t.Error("the connection of a request that was given up ended in order, want a reset")
	}
}
