package connlimit

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Options describe a Set. Max, Draining, Logger, Changed and Rejected are required.
type Options struct {
	Max      int64           // connections
	Draining <-chan struct{} // closed when the listener drains; connections are rejected from then on
	Logger   hclog.Logger

	// Response formats the JSON line for a rejected connection; nil: the connection is closed without a response.
	Response func(line string) string
	// Addr returns the address that a connection's RemoteAddr reports; nil: the address of its peer.
	Addr func(net.Conn) net.Addr

	Changed  func(change int) // called with 1 and -1 when a connection is opened and closed
	Rejected func()           // called for each connection that is rejected at the limit
}

// Set is the set of a listener's open connections. grpc.Server and http.Server wait at their end for connections that
// have not completed a handshake or a request, without a way to cancel them; the Set closes those.
type Set struct {
	options Options
	max     atomic.Int64

	mu    sync.Mutex
	conns map[*Conn]struct{} // guarded by mu
}

const (
	// idleTimeout is how long a connection must have been idle before it can be evicted, and firstTimeout the same for
	// a connection that has not sent a byte.
	idleTimeout  = 10 * time.Second
	firstTimeout = time.Second
)

// New returns an empty set.
func New(o Options) *Set {
	s := &Set{options: o, conns: make(map[*Conn]struct{})}
	s.max.Store(o.Max)
	return s
}

// SetMax changes the limit. Open connections stay open.
func (s *Set) SetMax(n int64) { s.max.Store(n) }

// CloseSilent closes the connections that have not sent a byte.
func (s *Set) CloseSilent() { s.close(func(c *Conn) bool { return !c.spoke.Load() }) }

// CloseAll closes every connection.
func (s *Set) CloseAll() { s.close(func(*Conn) bool { return true }) }

func (s *Set) close(which func(*Conn) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if which(c) {
			c.Conn.Close()
		}
	}
}

// SetReadDeadline sets the read deadline of every connection that has no request in progress.
func (s *Set) SetReadDeadline(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.requests.Load() == 0 {
			c.SetReadDeadline(at)
		}
	}
}

// add tracks a connection.
func (s *Set) add(conn net.Conn) *Conn {
	c := &Conn{Conn: conn, set: s}
	c.lastRead.Store(time.Now().UnixNano())
	if s.options.Addr != nil {
		c.addr = s.options.Addr(conn)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	s.options.Changed(1)
	return c
}

// fits reports whether the set is within its limit. It evicts one idle connection if needed.
func (s *Set) fits(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(len(s.conns)) <= s.max.Load() || s.evictLocked(now)
}

// evict closes the connection that has been idle longest.
func (s *Set) evict() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evictLocked(time.Now())
}

func (s *Set) evictLocked(now time.Time) bool {
	var longest *Conn
	past := time.Duration(0) // its idle timeout
	for c := range s.conns {
		if d := now.Sub(time.Unix(0, c.lastRead.Load())) - c.timeout(); d > past && c.requests.Load() == 0 {
			longest, past = c, d
		}
	}
	if longest == nil {
		return false
	}
	s.removeLocked(longest)
	longest.Conn.Close()
	return true
}

func (s *Set) removeLocked(c *Conn) {
	if _, open := s.conns[c]; open {
		delete(s.conns, c)
		s.options.Changed(-1)
	}
}

// Conn is a connection of a Set.
type Conn struct {
	net.Conn
	set      *Set
	addr     net.Addr // nil: the address of Conn
	spoke    atomic.Bool
	lastRead atomic.Int64 // in nanoseconds; when it was opened, if it was not read from
	requests atomic.Int32 // in progress
}

// NetConn returns the connection below c.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// RemoteAddr returns the address that Options.Addr made.
func (c *Conn) RemoteAddr() net.Addr {
	if c.addr == nil {
		return c.Conn.RemoteAddr()
	}
	return c.addr
}

// BeginRequest keeps the connection from eviction until EndRequest.
func (c *Conn) BeginRequest() { c.requests.Add(1) }

// EndRequest is called when a request has its response.
func (c *Conn) EndRequest() { c.requests.Add(-1) }

// Read reads from the connection and records the progress.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.Touch()
	}
	return n, err
}

// Touch records that bytes have been read.
func (c *Conn) Touch() {
	c.lastRead.Store(time.Now().UnixNano())
	if !c.spoke.Load() {
		c.spoke.Store(true)
	}
}

// Close closes the connection and removes it from its set.
func (c *Conn) Close() error {
	c.set.mu.Lock()
	c.set.removeLocked(c)
	c.set.mu.Unlock()
	return c.Conn.Close()
}

func (c *Conn) timeout() time.Duration {
	if c.spoke.Load() {
		return idleTimeout
	}
	return firstTimeout
}
