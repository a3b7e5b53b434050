package agent_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// closesAbove opens connections, and returns the time until all but most of them are closed.
func closesAbove(t *testing.T, socket string, open, most int) time.Duration {
	t.Helper()
	var conns []net.Conn
	for range open {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	dialed := time.Now()
	until(t, "the connections above the limit are closed", func() bool {
		closed := 0
		for _, c := range conns {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				closed++
			}
		}
		return closed >= open-most
	})
	return time.Since(dialed)
}

// Operators' connections are bounded: those above the limit are closed, idle ones give way, and a request still gets its
// response.
func TestAdmin_ConnectionsAreBounded(t *testing.T) {
	dir := t.TempDir()
	run(t, parse(t, dir, both))
	socket := filepath.Join(dir, "admin.sock")
	const held, most = 100, 32
	// The server closes connections without a request after 5 s; a busy machine may be as slow.
	soon := false
	for range 5 {
		if soon = closesAbove(t, socket, held, most) < 4*time.Second; soon {
			break
		}
	}
	if !soon {
		t.Error("the connections above the limit are closed no sooner than idle ones")
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	until(t, "the status is served", func() bool {
		r, err := client.Get("http://localhost/v1/status")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		_, err = io.Copy(io.Discard, r.Body)
		return err == nil && r.StatusCode == http.StatusOK
	})
}
