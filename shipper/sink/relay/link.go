package relay

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/standpipe/standpipe/shipper/sink/internal/dial"
)

// link opens the connections of a Sink, one after another, and sees how its requests get on.
type link struct {
	dialer dial.Dialer
	last   atomic.Pointer[dial.Conn] // nil: none yet
}

// dial opens a connection for gRPC.
func (l *link) dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := l.dialer.DialContext(ctx, "tcp", address)
	if err == nil {
		l.last.Store(dial.Of(c))
	}
	return c, err
}

// begin notes that a request begins.
func (l *link) begin() {
	if c := l.last.Load(); c != nil {
		c.Begin()
	}
}

// end returns the progress of the request that has ended. If gRPC has connected meanwhile, it is that since the new connection.
func (l *link) end() dial.Progress {
	c := l.last.Load()
	if c == nil {
		return dial.Progress{}
	}
	c.End()
	return c.Progress()
}
