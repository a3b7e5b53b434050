package ingest

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/agent/access"
)

// knownConns are the connections of a listener. grpc.Server waits at its end, hard or
// graceful, for connections that are not through with their handshake, and knows no way to
// hurry them: a port scanner's silence would hold up the agent's end.
type knownConns struct {
	in    *intake
	mu    sync.Mutex
	conns map[*knownConn]struct{} // guarded by mu
}

func newKnownConns(in *intake) *knownConns {
	return &knownConns{in: in, conns: make(map[*knownConn]struct{})}
}

// listener returns l with its connections known.
func (k *knownConns) listener(l net.Listener) net.Listener { return &knownListener{l, k} }

// closeSilent closes the connections on which nothing has come.
func (k *knownConns) closeSilent() { k.close(func(c *knownConn) bool { return !c.spoke.Load() }) }

// hurry sets a deadline to the requests that have not arrived whole.
func (k *knownConns) hurry(at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.conns {
		if c.owed.Load() == 0 {
			c.SetReadDeadline(at)
		}
	}
}

// closeAll closes every connection.
func (k *knownConns) closeAll() { k.close(func(*knownConn) bool { return true }) }

func (k *knownConns) close(which func(*knownConn) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.conns {
		if which(c) {
			c.Conn.Close()
		}
	}
}

type knownListener struct {
	net.Listener
	known *knownConns
}

func (l *knownListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &knownConn{Conn: conn, known: l.known}
	c.heard.Store(time.Now().UnixNano())
	if l.known.in.guard != nil {
		c.process = access.PeerOf(conn)
	}
	l.known.mu.Lock()
	defer l.known.mu.Unlock()
	l.known.conns[c] = struct{}{}
	l.known.in.observer.Connected(l.known.in.listener, 1)
	return c, nil
}

type knownConn struct {
	net.Conn
	known   *knownConns
	process *access.Peer // nil: not asked for, or not known
	spoke   atomic.Bool
	heard   atomic.Int64 // when it was opened or last read from, in nanoseconds
	owed    atomic.Int32 // requests of it that wait for their answers; gRPC does not say so
}

// RemoteAddr tells the process too, where that is known.
func (c *knownConn) RemoteAddr() net.Addr {
	if c.process == nil {
		return c.Conn.RemoteAddr()
	}
	return peerAddr{c.Conn.RemoteAddr(), c.process}
}

// rest says that a request is answered.
func (c *knownConn) rest() { c.owed.Add(-1) }

func (c *knownConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.hear()
	}
	return n, err
}

// hear notes that something has come.
func (c *knownConn) hear() {
	c.heard.Store(time.Now().UnixNano())
	if !c.spoke.Load() {
		c.spoke.Store(true)
	}
}

func (c *knownConn) Close() error {
	c.known.mu.Lock()
	c.known.dropLocked(c)
	c.known.mu.Unlock()
	return c.Conn.Close()
}
