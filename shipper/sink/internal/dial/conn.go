package dial

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

const (
	// every is the time between two looks at a connection whose peer owes it something.
	every = time.Second
	// A peer is silent after silentTrips round trips without an acknowledgement, but not before leastSilence. mostSilence
	// bounds it on links with long queues.
	silentTrips  = 6
	leastSilence = 5 * time.Second
	mostSilence  = 20 * time.Second
	// siblings is how much longer a connection may be silent while another one of the Dialer gets answers: its packets may
	// wait behind those of the other.
	siblings = 3
	// farewell is the largest number of bytes that a protocol writes after the last response: TLS's close notify, HTTP/2's
	// settings, window updates and GOAWAY. A connection that owes more than that is reset when it is closed.
	farewell = 128
)

// owedProbes finds a link that is down while a response is outstanding and all bytes are acknowledged.
var owedProbes = net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 60}

// SilentError is the error of a connection that was given up because its peer was silent.
type SilentError struct{ For time.Duration }

func (e *SilentError) Error() string {
	return fmt.Sprintf("no acknowledgement from the peer for %s", e.For.Round(100*time.Millisecond))
}

// Conn is a TCP connection of a Dialer. It hides the ReadFrom of a *net.TCPConn, which would write unseen.
type Conn struct {
	net.Conn
	dialer *Dialer
	tcp    *net.TCPConn
	timer  *time.Timer // calls look

	unanswered atomic.Int64          // bytes written since the last Read
	watched    atomic.Bool           // the timer runs
	since      atomic.Int64          // when the timer was started
	cause      atomic.Pointer[error] // why it was given up; nil: it was not
	closed     atomic.Bool
	open       atomic.Bool  // a request has begun and not ended
	begun      atomic.Int64 // when the last request began; before the first one: when the connection was opened
	before     atomic.Int64 // bytes that were acknowledged before
	busy       atomic.Int64 // the last look at which bytes were not acknowledged
	final      atomic.Pointer[Progress]
	probing    atomic.Bool // owedProbes are set; else idleProbes
}

func newConn(d *Dialer, tcp *net.TCPConn) *Conn {
	c := &Conn{Conn: tcp, dialer: d, tcp: tcp}
	c.timer = time.AfterFunc(time.Hour, c.look)
	c.timer.Stop()
	c.begun.Store(sinceEpoch())
	return c
}

// Write writes p. From then on the peer owes an acknowledgement and a response.
func (c *Conn) Write(p []byte) (int, error) {
	c.unanswered.Add(int64(len(p)))
	c.watch()
	n, err := c.Conn.Write(p)
	process.sent.Add(int64(n))
	return n, c.reason(err)
}

// Read reads a part of a response.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		process.received.Add(int64(n))
		c.unanswered.Store(0)
		c.dialer.alive.Store(sinceEpoch())
	}
	return n, c.reason(err)
}

// Close closes the connection. With a request under way it is reset: the kernel sends nothing more of it.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	c.timer.Stop()
	process.remove(c)
	p := c.progress()
	c.final.Store(&p)
	if c.owed() || queued(c.tcp) > farewell {
		_ = c.tcp.SetLinger(0) // fails on a broken connection, which sends nothing either
	}
	return c.Conn.Close()
}

// abandon resets the connection. Its users get the reason, if there is one.
func (c *Conn) abandon(reason error) {
	if reason != nil {
		c.cause.CompareAndSwap(nil, &reason)
	}
	c.unanswered.Add(farewell + 1)
	_ = c.Close()
}

// owed reports whether a request is under way: it has begun and not ended or, where requests are not noted, bytes were written
// and nothing was read since. The latter may miss a request: the server's TLS tickets are read after the handshake.
func (c *Conn) owed() bool { return c.open.Load() || c.unanswered.Load() > farewell }

// reason returns the cause of an error.
func (c *Conn) reason(err error) error {
	if err == nil {
		return nil
	}
	if cause := c.cause.Load(); cause != nil {
		return &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: *cause}
	}
	return err
}

// watch starts the timer.
func (c *Conn) watch() {
	if !c.watched.Load() && c.watched.CompareAndSwap(false, true) {
		c.since.Store(sinceEpoch())
		c.timer.Reset(every)
	}
}

// look is called while the peer owes something. It gives the connection up if the peer is silent.
func (c *Conn) look() {
	now := sinceEpoch()
	s, ok := stateOf(c.tcp)
	if !ok || c.closed.Load() {
		return
	}
	if s.unacked == 0 && !c.owed() {
		c.probe(false)
		c.watched.Store(false)
		if c.owed() { // since then
			c.watch()
		}
		return
	}
	if s.unacked > 0 {
		c.busy.Store(now)
	}
	silence := min(s.silence, time.Duration(now-c.since.Load()))
	if silence < every {
		c.dialer.alive.Store(now)
	}
	bound := min(max(silentTrips*s.trip, leastSilence), mostSilence)
	if time.Duration(now-c.dialer.alive.Load()) < bound {
		bound *= siblings
	}
	if silence >= bound {
		c.abandon(&SilentError{silence})
		c.dialer.abandonUnused()
		return
	}
	c.probe(s.unacked == 0)
	c.timer.Reset(every)
}

// probe chooses the keep-alive probes: frequent ones while a response is outstanding.
func (c *Conn) probe(owed bool) {
	switch {
	case owed == c.probing.Load():
		return
	case owed:
		_ = c.tcp.SetKeepAliveConfig(owedProbes)
	default:
		_ = c.tcp.SetKeepAliveConfig(idleProbes)
	}
	c.probing.Store(owed)
}

// state is the kernel's view of a connection.
type state struct {
	unacked int           // bytes or packets that the peer has not acknowledged, or that were not sent
	acked   int64         // bytes that it has acknowledged
	trip    time.Duration // a round trip, with four times its variation
	silence time.Duration // since the last acknowledgement or data of the peer
}
