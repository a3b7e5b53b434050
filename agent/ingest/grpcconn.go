package ingest

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/agent/access"
)

// knownConns are the connections of a gRPC listener. grpc.Server waits at its end, hard or
// graceful, for connections that are not through with their handshake, and knows no way to
// hurry them: a port scanner's silence would hold up the agent's end.
type knownConns struct {
	ask   bool // the kernel, which process is at the other end of a unix socket
	mu    sync.Mutex
	conns map[*knownConn]struct{} // guarded by mu
}

func newKnownConns(in *intake) *knownConns {
	return &knownConns{ask: in.guard != nil, conns: make(map[*knownConn]struct{})}
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
		if !c.busy.Load() {
			c.SetReadDeadline(at)
		}
	}
}

func (k *knownConns) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.conns)
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
	if l.known.ask {
		c.process = access.PeerOf(conn)
	}
	l.known.mu.Lock()
	defer l.known.mu.Unlock()
	l.known.conns[c] = struct{}{}
	return c, nil
}

type knownConn struct {
	net.Conn
	known   *knownConns
	process *access.Peer // nil: not asked for, or not known
	spoke   atomic.Bool
	busy    atomic.Bool // a request of it waits for the log; HTTP alone says so
}

// RemoteAddr tells the process too, where that is known.
func (c *knownConn) RemoteAddr() net.Addr {
	if c.process == nil {
		return c.Conn.RemoteAddr()
	}
	return peerAddr{c.Conn.RemoteAddr(), c.process}
}

// rest says that no request waits for the log any more.
func (c *knownConn) rest() { c.busy.Store(false) }

func (c *knownConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.spoke.Load() {
		c.spoke.Store(true)
	}
	return n, err
}

func (c *knownConn) Close() error {
	c.known.mu.Lock()
	delete(c.known.conns, c)
	c.known.mu.Unlock()
	return c.Conn.Close()
}
