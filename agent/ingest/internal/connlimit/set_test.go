package connlimit_test

import (
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/test/ingestkit"
)

// TestConnections_OverTheLimit: connections in use stay, and one more is rejected with a response.
func TestConnections_OverTheLimit(t *testing.T) {
	seen := &ingestkit.Counts{}
	server, first := ingestkit.ServeSocket(t, ingest.Options{Log: ingestkit.NewLog(t), Observer: seen, MaxConnections: 2})
	second := ingestkit.Connect(t, server.Addr())
	first.Send(ingestkit.Line)
	first.Response()
	second.Send(ingestkit.Line)
	second.Response()
	third := ingestkit.Connect(t, server.Addr())
	third.Expect(`{"error":"no connection is free","code":"UNAVAILABLE","retry_after":"1s"}`)
	third.ExpectEnd()
	first.Send(ingestkit.Line)
	first.Expect(`{"offset":3}`)
	first.Finish()
	first.ExpectEnd()
	for open := 2; open > 1; open, _ = seen.Connections() {
		runtime.Gosched()
	}
	fourth := ingestkit.Connect(t, server.Addr())
	fourth.Send(ingestkit.Line)
	fourth.Expect(`{"offset":4}`)
	if open, turnedAway := seen.Connections(); open != 2 || turnedAway != 1 {
		t.Errorf("got %d connections and %d turned away, want 2 and 1", open, turnedAway)
	}
}

// TestConnections_OverTheLimitOfHTTP: a request that waits for the log keeps its connection.
func TestConnections_OverTheLimitOfHTTP(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Hold = make(chan struct{})
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, MaxConnections: 1})
	taken := w.Raw(ingestkit.Head + "Content-Length: 1\r\n\r\nx")
	for log.Submitted() == 0 {
		runtime.Gosched()
	}
	if got := ingestkit.StatusOn(t, w.Raw("")); got != 503 {
		t.Errorf("one connection too many: got %d, want 503", got)
	}
	close(log.Hold)
	if got := ingestkit.StatusOn(t, taken); got != 200 {
		t.Errorf("got %d, want 200", got)
	}
}

// TestConnections_IdleAreEvicted: idle connections keep no producer out.
func TestConnections_IdleAreEvicted(t *testing.T) {
	const most = 50
	for _, kind := range []string{ingest.GRPC, ingest.Socket, ingest.HTTP} {
		seen := &ingestkit.Counts{}
		s := ingestkit.Serve(t, ingest.Options{Type: kind, Log: ingestkit.NewLog(t), Observer: seen, MaxConnections: most})
		for range 3 * most {
			c, err := net.Dial(s.Addr().Network(), s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		begin := time.Now() // of a silence that is real: connections are read from in no bubble
		answered := false
		for !answered && time.Since(begin) < time.Minute {
			answered = responds(t, kind, s)
		}
		if !answered {
			t.Errorf("%s: %d idle connections keep a producer out", kind, 3*most)
		}
		if open, _ := seen.Connections(); open > most {
			t.Errorf("%s: got %d connections, want at most %d", kind, open, most)
		}
	}
}

// responds reports whether a new connection gets a response.
func responds(t *testing.T, kind string, s *ingest.Server) bool {
	t.Helper()
	c, err := net.Dial(s.Addr().Network(), s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	said, want := ingestkit.Line, `{"offset"`
	switch kind {
	case ingest.HTTP:
		said, want = ingestkit.Head+"Content-Length: 1\r\n\r\nx", "HTTP/1.1 200 OK"
	case ingest.GRPC:
		said, want = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "\x00\x00"
	}
	if _, err := io.WriteString(c, said); err != nil {
		return false
	}
	got := make([]byte, len(want))
	n, _ := io.ReadFull(c, got)
	return strings.HasPrefix(string(got[:n]), want)
}

// lateListener accepts one connection, as it is closed.
type lateListener struct {
	net.Listener
	conn      net.Conn
	late      chan net.Conn
	accepting chan struct{} // closed by the first Accept
	first     sync.Once
	last      sync.Once
}

func (l *lateListener) Accept() (net.Conn, error) {
	l.first.Do(func() { close(l.accepting) })
	if conn, ok := <-l.late; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l *lateListener) Close() error {
	l.last.Do(func() {
		l.late <- l.conn
		close(l.late)
	})
	return l.Listener.Close()
}

// TestConnections_OneThatComesAsTheAgentStops once got the response that no connection is free.
func TestConnections_OneThatComesAsTheAgentStops(t *testing.T) {
	for _, kind := range []string{ingest.Socket, ingest.HTTP} {
		bound, err := ingest.Listen("unix", ingestkit.SocketPath(t), 0)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		seen := &ingestkit.Counts{}
		late := &lateListener{Listener: bound, conn: theirs, late: make(chan net.Conn, 1), accepting: make(chan struct{})}
		s := ingestkit.Serve(t, ingest.Options{Type: kind, Log: ingestkit.NewLog(t), Observer: seen, Network: "unix", Listener: late})
		<-late.accepting
		stopped := make(chan error, 1)
		go func() { stopped <- s.Stop(t.Context()) }()
		got, err := io.ReadAll(ours)
		if err != nil || !strings.Contains(string(got), `{"error":"the agent is shutting down: nothing was stored","code":"UNAVAILABLE"`) {
			t.Errorf("%s: got %q, %v", kind, got, err)
		}
		if err := <-stopped; err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if _, turnedAway := seen.Connections(); turnedAway != 0 {
			t.Errorf("%s: %d were turned away for want of room", kind, turnedAway)
		}
	}
}
