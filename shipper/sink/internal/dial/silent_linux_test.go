package dial_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper/sink/internal/dial"
	"github.com/standpipe/standpipe/test/gateway"
	"github.com/standpipe/standpipe/test/testkit"
)

const port = ":443"

// far is a connection from the agent's host, with its other end.
type far struct {
	*gateway.World
	dialer   dial.Dialer
	listener net.Listener
}

func openFar(t *testing.T, q gateway.Quality) *far {
	t.Helper()
	t.Parallel()
	if testing.Short() {
		t.Skip("-short leaves out the tests that wait for a silence")
	}
	f := &far{World: gateway.Open(t, q)}
	l, err := f.Service.Listen(gateway.ServiceAddress + port)
	testkit.Must(t, err)
	t.Cleanup(func() { l.Close() })
	f.listener = l
	return f
}

func (f *far) connect(t *testing.T) (c, server net.Conn) {
	t.Helper()
	var err error
	f.Agent.Do(func() { c, err = f.dialer.DialContext(t.Context(), "tcp", gateway.ServiceAddress+port) })
	testkit.Must(t, err)
	t.Cleanup(func() { c.Close() })
	server, err = f.listener.Accept()
	testkit.Must(t, err)
	t.Cleanup(func() { server.Close() })
	return c, server
}

var good = gateway.Quality{Rate: 1_000_000, Delay: 10 * time.Millisecond, Queue: 64 << 10}

func expectSilent(t *testing.T, what string, err error) {
	t.Helper()
	var silent *dial.SilentError
	if !errors.As(err, &silent) || silent.For < time.Second {
		t.Errorf("%s: got %v, want a SilentError", what, err)
	}
}

// The link goes down below a request: its bytes are not acknowledged.
func TestSilence_UnacknowledgedRequest(t *testing.T) {
	f := openFar(t, good)
	unused, _ := f.connect(t)
	c, _ := f.connect(t)
	f.Link.Set(false)
	if _, err := c.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	expectSilent(t, "read", err)
	_, err = c.Write([]byte("x"))
	expectSilent(t, "write", err)
	if _, err := unused.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("an unused connection beside it: got %v, want net.ErrClosed", err)
	}
	// Nothing of the request goes out when the link is back.
	f.Link.Set(true)
	before := f.Link.Traffic().Up
	fresh, server := f.connect(t)
	go fresh.Write([]byte("hello"))
	if _, err := io.ReadFull(server, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if up := f.Link.Traffic().Up - before; up >= 1000 {
		t.Errorf("got %d bytes up for a new connection with 5 bytes, after a request of 1000 bytes was given up", up)
	}
}

// The link goes down while the service works: all bytes were acknowledged, and no response will come.
func TestSilence_LostResponse(t *testing.T) {
	f := openFar(t, good)
	c, server := f.connect(t)
	if _, err := c.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(server, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	f.Link.Set(false)
	_, err := c.Read(make([]byte, 1))
	expectSilent(t, "read", err)
}

// A service that takes long to respond is not silent: its host acknowledges the probes.
func TestSilence_SlowServiceIsNone(t *testing.T) {
	f := openFar(t, good)
	c, server := f.connect(t)
	go func() {
		io.ReadFull(server, make([]byte, 1000))
		time.Sleep(8 * time.Second) // longer than the shortest silence
		server.Write([]byte("x"))
	}()
	if _, err := c.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Errorf("got %v, want the response", err)
	}
}

// Bytes that move slowly are no silence, nor are those of another connection that wait behind them.
func TestSilence_SlowLinkIsNone(t *testing.T) {
	f := openFar(t, gateway.Quality{Rate: 16_000, Delay: 150 * time.Millisecond, Queue: 64 << 10})
	done := make(chan error, 2)
	for range 2 {
		c, server := f.connect(t)
		go func() {
			io.ReadFull(server, make([]byte, 12_000))
			server.Write([]byte("x"))
		}()
		go func() {
			_, err := c.Write(make([]byte, 12_000))
			if err == nil {
				_, err = io.ReadFull(c, make([]byte, 1))
			}
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("got %v, want the response", err)
		}
	}
}

// Two requests share the link: the rate is that of both.
func TestRate_IsThatOfAllRequests(t *testing.T) {
	f := openFar(t, gateway.Quality{Rate: 200_000, Delay: 10 * time.Millisecond, Queue: 16 << 10})
	var conns []*dial.Conn
	for range 2 {
		c, server := f.connect(t)
		conns = append(conns, dial.Of(c))
		conns[len(conns)-1].Begin()
		go io.Copy(io.Discard, server)
		go func() {
			for { // until the test ends
				if _, err := c.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}()
	}
	testkit.Eventually(t, time.Minute, func() error {
		one, other := conns[0].Progress(), conns[1].Progress()
		if one.Moving == 0 || other.Moving == 0 {
			return errors.New("no request has moved for a second")
		}
		single := float64(one.Acked) / one.Moving.Seconds()
		if rate := conns[0].Rate(); rate < single*1.1 {
			return fmt.Errorf("got %.0f bytes a second on all connections, and %.0f on one", rate, single)
		}
		return nil
	})
}
