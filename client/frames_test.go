package client_test

import (
	"bytes"
	"net"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"

	"github.com/standpipe/standpipe/client"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// recordingListener keeps what its connections receive.
type recordingListener struct {
	net.Listener
	mu       sync.Mutex
	received bytes.Buffer
}

func (l *recordingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return recordedConn{c, l}, err
}

type recordedConn struct {
	net.Conn
	by *recordingListener
}

func (c recordedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.by.mu.Lock()
	defer c.by.mu.Unlock()
	c.by.received.Write(b[:n])
	return n, err
}

// A client that waits for each response sends nothing but its requests: no ping and no update of a window for the few bytes of a response.
func TestAppend_ResponsesCauseNoFrames(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	recorded := &recordingListener{Listener: l}
	s := grpc.NewServer(grpc.StaticStreamWindowSize(1<<20), grpc.StaticConnWindowSize(1<<20))
	standpipev1.RegisterIngestServer(s, &fakeServer{agent: newFakeAgent()})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(recorded)
	}()
	t.Cleanup(func() { s.Stop(); <-done })
	c := dial(t, l.Addr().String(), client.Options{})
	const requests = 20
	for range requests {
		if _, err := c.Append(t.Context(), "s", client.Event{Key: "k"}); err != nil {
			t.Fatal(err)
		}
	}

	recorded.mu.Lock()
	defer recorded.mu.Unlock()
	frames := http2.NewFramer(nil, bytes.NewReader(recorded.received.Bytes()[len(http2.ClientPreface):]))
	seen := make(map[http2.FrameType]int)
	for {
		f, err := frames.ReadFrame()
		if err != nil {
			break
		}
		seen[f.Header().Type]++
	}
	if seen[http2.FrameHeaders] != requests || seen[http2.FrameData] != requests {
		t.Errorf("got %d headers and %d data frames, want %d each", seen[http2.FrameHeaders], seen[http2.FrameData], requests)
	}
	if got := seen[http2.FramePing] + seen[http2.FrameWindowUpdate]; got > 1 { // the window of the connection, once
		t.Errorf("got %d pings and %d window updates after %d responses, want none", seen[http2.FramePing], seen[http2.FrameWindowUpdate], requests)
	}
}
