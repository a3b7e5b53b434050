package ingest_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/ingest"
)

func TestUnixSocketFile(t *testing.T) {
	path := socketPath(t)
	o := ingest.Options{Type: ingest.Socket, Log: newFakeLog(t), Network: "unix", Address: path, Mode: 0o620}
	server, _ := serveSocket(t, o)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode(), os.ModeSocket|0o620; got != want {
		t.Errorf("mode %v, want %v", got, want)
	}
	o.Streams = testStreams
	if _, err := ingest.New(o); err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("a second listener on one path: got %v", err)
	}
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket's file is left: %v", err)
	}
}

func TestStaleSocketFileIsReplaced(t *testing.T) {
	path := socketPath(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	_, p := serveSocket(t, ingest.Options{Log: newFakeLog(t), Network: "unix", Address: path})
	p.send(`{"stream":"text","key":"k","data":1}` + "\n")
	p.expect(`{"offset":1}`)
}

func TestOtherFilesAreNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ingest.New(ingest.Options{
		Type: ingest.Socket, Log: newFakeLog(t), Streams: testStreams, Network: "unix", Address: path,
	})
	if err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(path); string(got) != "keep" {
		t.Errorf("the file holds %q, %v", got, err)
	}
}

func TestOptionsThatAreWrong(t *testing.T) {
	for name, o := range map[string]ingest.Options{
		"no type":    {Log: newFakeLog(t), Streams: testStreams},
		"no log":     {Type: ingest.GRPC, Streams: testStreams},
		"no streams": {Type: ingest.GRPC, Log: newFakeLog(t)},
		"no address": {Type: ingest.GRPC, Log: newFakeLog(t), Streams: testStreams, Network: "unix", Address: "/dev/null/s"},
	} {
		if _, err := ingest.New(o); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestStopWithoutServe(t *testing.T) {
	for _, kind := range []string{ingest.GRPC, ingest.Socket, ingest.HTTP} {
		o := ingest.Options{Type: kind, Log: newFakeLog(t), Streams: testStreams, Network: "tcp", Address: "127.0.0.1:0"}
		s, err := ingest.New(o)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.Stop(t.Context()); err != nil {
				t.Errorf("%s: stop: %v", kind, err)
			}
		}
		if err := s.Serve(t.Context()); err != nil {
			t.Errorf("%s: serve after stop: %v", kind, err)
		}
		if _, err := net.DialTimeout("tcp", s.Addr().String(), time.Second); err == nil {
			t.Errorf("%s: the address still answers", kind)
		}
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	for _, kind := range []string{ingest.GRPC, ingest.Socket, ingest.HTTP} {
		o := ingest.Options{Type: kind, Log: newFakeLog(t), Streams: testStreams, Network: "tcp", Address: "127.0.0.1:0"}
		s, err := ingest.New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ctx) }()
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("%s: stop: %v", kind, err)
		}
	}
}

// TestStopDoesNotWaitForSilentConnections has connections that never say a word.
func TestStopDoesNotWaitForSilentConnections(t *testing.T) {
	for _, kind := range []string{ingest.GRPC, ingest.Socket, ingest.HTTP} {
		s := serve(t, ingest.Options{Type: kind, Log: newFakeLog(t)})
		for range 3 {
			connect(t, s.Addr())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
