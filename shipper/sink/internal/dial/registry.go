package dial

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// registry holds the connections of the process, as the kernel does: a link that goes down takes all of them.
type registry struct {
	mu    sync.Mutex
	conns map[*Conn]time.Time              // the open ones, and when they were opened; guarded by mu
	dials map[*context.CancelFunc]struct{} // those under way; guarded by mu

	sent, received atomic.Int64 // bytes of all connections since the start
}

var process = registry{conns: make(map[*Conn]time.Time), dials: make(map[*context.CancelFunc]struct{})}

func (r *registry) add(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[c] = time.Now()
}

func (r *registry) remove(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

// dialing notes a dial under way that cancel ends. The returned function notes its end.
func (r *registry) dialing(cancel *context.CancelFunc) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dials[cancel] = struct{}{}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.dials, cancel)
	}
}

// abandon resets the connections that match.
func (r *registry) abandon(matches func(c *Conn, opened time.Time) bool, reason error) {
	r.mu.Lock()
	var all []*Conn
	for c, opened := range r.conns {
		if matches(c, opened) {
			all = append(all, c)
		}
	}
	r.mu.Unlock()
	for _, c := range all {
		c.abandon(reason)
	}
}

// Traffic returns the bytes that all connections of the process have sent and received, with TLS and without the headers of TCP
// and IP. Bytes that the kernel discarded when a connection was reset count as sent.
func Traffic() (sent, received int64) { return process.sent.Load(), process.received.Load() }

// LinkError is the error of a connection that was given up because the link has gone.
type LinkError struct{}

func (LinkError) Error() string { return "the link has gone, or has another address" }

// Abandon resets the connections of the process, those in use too, whose local address matches. It ends all dials under way.
func Abandon(matches func(local netip.Addr) bool) {
	process.mu.Lock()
	for cancel := range process.dials {
		(*cancel)()
	}
	process.mu.Unlock()
	process.abandon(func(c *Conn, _ time.Time) bool {
		local, ok := c.LocalAddr().(*net.TCPAddr)
		return ok && matches(local.AddrPort().Addr().Unmap())
	}, LinkError{})
}

// Abandon resets the connections of the Dialer that were opened before a time, those in use too.
func (d *Dialer) Abandon(before time.Time) {
	process.abandon(func(c *Conn, opened time.Time) bool { return c.dialer == d && opened.Before(before) }, nil)
}

// abandonUnused resets the connections of the Dialer without a request under way.
func (d *Dialer) abandonUnused() {
	process.abandon(func(c *Conn, _ time.Time) bool { return c.dialer == d && !c.owed() }, nil)
}
