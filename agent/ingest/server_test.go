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
	"github.com/standpipe/standpipe/test/ingestkit"
)

func TestUnixSocketFile(t *testing.T) {
	path := ingestkit.SocketPath(t)
	o := ingest.Options{Type: ingest.Socket, Log: ingestkit.NewLog(t), Network: "unix", Address: path, Mode: 0o620}
	server, _ := ingestkit.ServeSocket(t, o)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode(), os.ModeSocket|0o620; got != want {
		t.Errorf("mode %v, want %v", got, want)
	}
	o.Streams = ingestkit.TestStreams
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

func TestUnixSocketFile_StaleIsReplaced(t *testing.T) {
	path := ingestkit.SocketPath(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	_, p := ingestkit.ServeSocket(t, ingest.Options{Log: ingestkit.NewLog(t), Network: "unix", Address: path})
	p.Send(`{"stream":"text","key":"k","data":1}` + "\n")
	p.Expect(`{"offset":1}`)
}

func TestUnixSocketFile_OtherFilesAreNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ingest.New(ingest.Options{
		Type: ingest.Socket, Log: ingestkit.NewLog(t), Streams: ingestkit.TestStreams, Network: "unix", Address: path,
	})
	if err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(path); string(got) != "keep" {
		t.Errorf("the file holds %q, %v", got, err)
	}
}

func TestOptions_InvalidAreRejected(t *testing.T) {
	for name, o := range map[string]ingest.Options{
		"no type":    {Log: ingestkit.NewLog(t), Streams: ingestkit.TestStreams},
		"no log":     {Type: ingest.GRPC, Streams: ingestkit.TestStreams},
		"no streams": {Type: ingest.GRPC, Log: ingestkit.NewLog(t)},
		"no address": {Type: ingest.GRPC, Log: ingestkit.NewLog(t), Streams: ingestkit.TestStreams, Network: "unix", Address: "/dev/null/s"},
	} {
		if _, err := ingest.New(o); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestServer_StopWithoutServe(t *testing.T) {
	for _, kind := range []string{ingest.GRPC, ingest.Socket, ingest.HTTP} {
		o := ingest.Options{Type: kind, Log: ingestkit.NewLog(t), Streams: ingestkit.TestStreams, Network: "tcp", Address: "127.0.0.1:0"}
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

func TestServer_EndsWithItsContext(t *testing.T) {
	for _, kind := range []string{ingest.GRPC, ingest.Socket, ingest.HTTP} {
		o := ingest.Options{Type: kind, Log: ingestkit.NewLog(t), Streams: ingestkit.TestStreams, Network: "tcp", Address: "127.0.0.1:0"}
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

// TestServer_StopDoesNotWaitForSilentConnections has connections that never say a word.
func TestServer_StopDoesNotWaitForSilentConnections(t *testing.T) {
	for _, kind := range []string{ingest.GRPC, ingest.Socket, ingest.HTTP} {
		s := ingestkit.Serve(t, ingest.Options{Type: kind, Log: ingestkit.NewLog(t)})
		for range 3 {
			ingestkit.Connect(t, s.Addr())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
