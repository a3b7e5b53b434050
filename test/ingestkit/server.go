package ingestkit

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/wal/timeline"
)

// Now is the time of every listener of Serve.
var Now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// Serve starts a listener, on a unix socket unless o names another address, and stops it with the test.
func Serve(t *testing.T, o ingest.Options) *ingest.Server {
	t.Helper()
	if o.Streams == nil {
		o.Streams = TestStreams
	}
	if o.Network == "" {
		o.Network, o.Address = "unix", SocketPath(t)
	}
	o.Clock = func() timeline.Stamp { return timeline.Stamp{At: Now.UnixNano()} }
	s, err := ingest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	t.Cleanup(func() {
		StopNow(s)
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

// StopNow stops s without waiting for deliveries.
func StopNow(s *ingest.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	return s.Stop(ctx)
}

// SocketPath returns a short path: that of a socket may have about a hundred bytes.
func SocketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ingest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// Allocated returns the bytes that the process has allocated since its start.
func Allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
