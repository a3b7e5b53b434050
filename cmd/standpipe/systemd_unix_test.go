//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// notifySocket returns the socket that NOTIFY_SOCKET names during the test.
func notifySocket(t *testing.T) *net.UnixConn {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := dir + "/s"
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

func received(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 1000)
	n, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestSystemd_GetsTheStates(t *testing.T) {
	conn := notifySocket(t)
	n := notifier{hclog.NewNullLogger()}
	n.reloading()
	if got := received(t, conn); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
		t.Errorf("got %q", got)
	}
	n.ready()
	n.stopping()
	for _, want := range []string{"READY=1", "STOPPING=1"} {
		if got := received(t, conn); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSystemd_WatchdogIsPettedWhileLive(t *testing.T) {
	conn := notifySocket(t)
	t.Setenv("WATCHDOG_USEC", "2000") // a keep-alive each millisecond
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	var said bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	notifier{hclog.New(&hclog.LoggerOptions{Output: &said})}.watch(ctx, func() error {
		if asked++; asked == 3 {
			cancel()
			return errors.New("the log has failed")
		}
		return nil
	})
	for range asked - 1 {
		if got := received(t, conn); got != "WATCHDOG=1" {
			t.Errorf("got %q", got)
		}
	}
	if asked < 3 || !strings.Contains(said.String(), "the log has failed") {
		t.Errorf("%d looks, and the log %q", asked, said.String())
	}
}

func TestSystemd_FaultsAreLogged(t *testing.T) {
	var said bytes.Buffer
	n := notifier{hclog.New(&hclog.LoggerOptions{Output: &said})}
	t.Setenv("NOTIFY_SOCKET", "/does/not/exist")
	n.ready()
	t.Setenv("WATCHDOG_USEC", "soon")
	n.watch(t.Context(), func() error { return nil })
	t.Setenv("WATCHDOG_USEC", "")
	n.watch(t.Context(), func() error { return nil })
	for _, want := range []string{"systemd not notified", "watchdog setting is not valid"} {
		if strings.Count(said.String(), want) != 1 {
			t.Errorf("got %q, want %q in it once", said.String(), want)
		}
	}
}
