package dial_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"net/netip"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper/sink/internal/dial"
	"github.com/standpipe/standpipe/test/testkit"
)

func TestMain(m *testing.M) { testkit.RunTests(m, "standpipe/shipper/sink/internal/dial", nil) }

// listen returns the connections that a listener on loopback accepts.
func listen(t *testing.T) (address string, accepted <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	conns := make(chan net.Conn, 8)
	go func() {
		defer close(conns)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c
		}
	}()
	t.Cleanup(func() {
		l.Close()
		for c := range conns {
			c.Close()
		}
	})
	return l.Addr().String(), conns
}

func open(t *testing.T, d *dial.Dialer, address string) net.Conn {
	t.Helper()
	c, err := d.DialContext(t.Context(), "tcp", address)
	testkit.Must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// A request that was given up must not arrive when the link is back, or when the server gets around to it.
func TestClose_AbandonedRequestIsNotSent(t *testing.T) {
	address, accepted := listen(t)
	c := open(t, new(dial.Dialer), address)
	server := <-accepted
	defer server.Close()

	// The server reads nothing, so the request stays in the buffers of both sides.
	size := 64 << 20
	written := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, size))
		written <- err
	}()
	if _, err := io.ReadFull(server, make([]byte, 1000)); err != nil { // the request is under way
		t.Fatal(err)
	}
	c.Close()
	if err := <-written; err == nil {
		t.Error("the write of a request that was given up returned no error")
	}
	n, err := io.Copy(io.Discard, server)
	if err == nil {
		t.Errorf("the server read the end of a request that was given up, after %d bytes; want an error", n)
	}
	if n > int64(size)/2 {
		t.Errorf("the server read %d of %d bytes of a request that was given up", n, size)
	}
}

func TestClose_AnsweredConnectionEndsInOrder(t *testing.T) {
	address, accepted := listen(t)
	c := open(t, new(dial.Dialer), address)
	server := <-accepted
	defer server.Close()
	sent, received := dial.Traffic()
	request := make([]byte, 1000)
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(server, request); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Write([]byte("response")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, request[:8]); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("farewell")); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got, err := io.ReadAll(server); err != nil || string(got) != "farewell" {
		t.Errorf("the server read %q, %v; want the farewell and the end", got, err)
	}
	if up, down := dial.Traffic(); up-sent != 1008 || down-received != 8 {
		t.Errorf("counted %d bytes sent and %d received, want 1008 and 8", up-sent, down-received)
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: got %v, want net.ErrClosed", err)
	}
}

func TestAbandon_EndsOldConnections(t *testing.T) {
	address, accepted := listen(t)
	var d dial.Dialer
	old := open(t, &d, address)
	server := <-accepted
	defer server.Close()
	d.Abandon(time.Now())
	if _, err := old.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("old connection: got %v, want net.ErrClosed", err)
	}
	if _, err := io.ReadAll(server); err == nil {
		t.Error("the server read the end of an abandoned connection; want an error")
	}
	before := time.Now()
	fresh := open(t, &d, address)
	server2 := <-accepted
	defer server2.Close()
	d.Abandon(before)
	server2.Write([]byte("x"))
	if _, err := io.ReadFull(fresh, make([]byte, 1)); err != nil {
		t.Errorf("a connection that was opened later: got %v, want none", err)
	}
}

func TestDial_ErrorsAreThoseOfDialing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	address := l.Addr().String()
	l.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx     context.Context
		address string
	}{
		"refused":         {t.Context(), address},
		"no port":         {t.Context(), "127.0.0.1"},
		"a name":          {t.Context(), "nowhere.invalid:443"},
		"a context ended": {ended, address},
	} {
		c, err := new(dial.Dialer).DialContext(test.ctx, "tcp", test.address)
		if err == nil {
			c.Close()
			t.Errorf("%s: got a connection", name)
		}
	}
}

// The link goes when a dial has just connected: no connection outlives that.
func TestAbandon_EndsADialThatHasConnected(t *testing.T) {
	address, accepted := listen(t)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{ConnectDone: func(string, string, error) {
		dial.Abandon(func(netip.Addr) bool { return true })
	}})
	if c, err := new(dial.Dialer).DialContext(ctx, "tcp", address); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v, want %v", c, err, context.Canceled)
		c.Close()
	}
	server := <-accepted
	defer server.Close()
	if _, err := server.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
}
