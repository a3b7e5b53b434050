package connlimit_test

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/test/ingestkit"
)

// shortListener has no descriptor for a connection while it is short of them.
type shortListener struct {
	net.Listener
	mu    sync.Mutex
	short bool
	tried int
}

func (l *shortListener) set(short bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.short = short
}

func (l *shortListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tried++
	if l.short {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// pipeListener accepts ends of pipes.
type pipeListener struct{ conns chan net.Conn }

func (l pipeListener) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l pipeListener) Close() error   { return nil }
func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// An accept that fails for an hour is a line a minute, not one for each attempt, and a line when it is over.
func TestPatientListener_LogsAFailingAcceptOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		raw := &shortListener{Listener: pipeListener{make(chan net.Conn, 1)}, short: true}
		l := ingest.Patient(raw, hclog.New(&hclog.LoggerOptions{Output: &said}))
		accepted := make(chan net.Conn)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				t.Error(err)
			}
			accepted <- conn
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		raw.set(false)
		mine, its := net.Pipe()
		raw.Listener.(pipeListener).conns <- its
		if got := <-accepted; got != its {
			t.Errorf("got %v, want the connection that came", got)
		}
		mine.Close()
		lines := strings.Count(said.String(), "connections cannot be accepted")
		if lines < 55 || lines > 61 || raw.tried < 3000 || raw.tried > 4000 {
			t.Errorf("got %d lines for %d attempts in an hour, want one a minute and an attempt a second", lines, raw.tried)
		}
		if strings.Count(said.String(), "connections are accepted again") != 1 || !strings.Contains(said.String(), "too many open files") {
			t.Errorf("got %q, want the cause and a line when it is over", said.String()[max(0, said.Len()-500):])
		}
		close(raw.Listener.(pipeListener).conns)
		if _, err := l.Accept(); err == nil {
			t.Error("got a connection from a closed listener")
		}
	})
}

// Silent connections hold the last descriptors of the process: they are evicted for a producer that sends, also when
// there are fewer of them than the listener may have.
func TestPatientListener_SilentConnectionsMakeRoomForDescriptors(t *testing.T) {
	for _, kind := range []string{ingest.Socket, ingest.HTTP, ingest.GRPC} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			seen := &ingestkit.Counts{}
			limited := &fewDescriptors{Listener: inner, free: 5}
			s := ingestkit.Serve(t, ingest.Options{Type: kind, Log: ingestkit.NewLog(t), Observer: seen, Listener: limited})
			for range 5 {
				c, err := net.Dial("tcp", s.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
			}
			if !responds(t, kind, s) { // waits until it is accepted
				t.Error("silent connections keep a producer out")
			}
		})
	}
}

// fewDescriptors has so many descriptors for connections.
type fewDescriptors struct {
	net.Listener
	mu   sync.Mutex
	free int
}

func (l *fewDescriptors) Accept() (net.Conn, error) {
	l.mu.Lock()
	free := l.free
	l.mu.Unlock()
	if free == 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.add(-1)
	return &countedConn{Conn: c, l: l}, nil
}

func (l *fewDescriptors) add(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free += n
}

type countedConn struct {
	net.Conn
	l    *fewDescriptors
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.l.add(1) })
	return c.Conn.Close()
}

// A limit that is lowered while connections are open holds for those that come.
func TestServer_LimitConnectionsHoldsForThoseThatCome(t *testing.T) {
	s, first := ingestkit.ServeSocket(t, ingest.Options{Log: ingestkit.NewLog(t), MaxConnections: 100})
	second := ingestkit.Connect(t, s.Addr())
	for _, p := range []*ingestkit.Producer{first, second} {
		p.Send(ingestkit.Line)
		p.Response()
	}
	s.LimitConnections(2)
	third := ingestkit.Connect(t, s.Addr())
	third.Expect(`{"error":"no connection is free","code":"UNAVAILABLE","retry_after":"1s"}`)
	third.ExpectEnd()
	s.LimitConnections(3)
	fourth := ingestkit.Connect(t, s.Addr())
	fourth.Send(ingestkit.Line)
	fourth.Expect(`{"offset":3}`)
}
