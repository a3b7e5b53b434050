package dial

import (
	"net"
	"time"
)

// Progress is the way that a request has come.
type Progress struct {
	Acked  int           // bytes that the peer's host has acknowledged
	Moving time.Duration // from the first byte to the last acknowledgement; 0: less than a second, or unknown
}

// Of returns the connection of a Dialer below others, such as TLS; nil: there is none.
func Of(c net.Conn) *Conn {
	for {
		switch below := c.(type) {
		case *Conn:
			return below
		case interface{ NetConn() net.Conn }:
			c = below.NetConn()
		default:
			return nil
		}
	}
}

// Begin notes that a request begins: Progress is counted from here. End follows when its response has arrived, or the
// connection is closed.
func (c *Conn) Begin() {
	c.open.Store(true)
	s, _ := stateOf(c.tcp)
	c.before.Store(s.acked)
	c.begun.Store(sinceEpoch())
}

// End notes that the response to a request has arrived.
func (c *Conn) End() { c.open.Store(false) }

// Progress returns the progress of the request that began last, also after Close.
func (c *Conn) Progress() Progress {
	if final := c.final.Load(); final != nil {
		return *final
	}
	return c.progress()
}

// Rate returns the bytes a second that the peers' hosts acknowledge on all connections of the Dialer with a request under way:
// they share the link.
func (c *Conn) Rate() (rate float64) {
	process.mu.Lock()
	defer process.mu.Unlock()
	for other := range process.conns {
		if other.dialer != c.dialer || !other.owed() {
			continue
		}
		if p := other.progress(); p.Moving > 0 {
			rate += float64(p.Acked) / p.Moving.Seconds()
		}
	}
	return rate
}

func (c *Conn) progress() Progress {
	s, ok := stateOf(c.tcp)
	if !ok {
		return Progress{}
	}
	begun, until := c.begun.Load(), c.busy.Load()
	if s.unacked > 0 {
		until = sinceEpoch() - int64(s.silence)
	}
	p := Progress{Acked: int(s.acked - c.before.Load()), Moving: time.Duration(until - begun)}
	if p.Moving < every {
		p.Moving = 0
	}
	return p
}
