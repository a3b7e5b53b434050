package httpin

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/standpipe/standpipe/agent/ingest/internal/connlimit"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

type connKey struct{}

// connContext lets a request find its connection.
func connContext(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// arrived marks the connection of a request that has arrived whole as one that is not to be hurried. net/http
// has taken its deadline away by then, and reads on to see whether the producer leaves: the deadline of one
// that was hurried just before is taken away here, since it would pass for that.
func arrived(in *intake.Intake, r *http.Request) *connlimit.Conn {
	c := r.Context().Value(connKey{}).(*connlimit.Conn)
	c.BeginRequest()
	if in.IsDraining() {
		c.SetReadDeadline(time.Time{})
	}
	return c
}

// arrival is a body on its way from the producer: it has more time as long as it makes progress.
type arrival struct {
	in       *intake.Intake
	r        *http.Request
	patience time.Duration
	read     int // since the deadline was set
}

// progress is how much of a body must come in the time that a whole request has.
const progress = 256 << 10

func (a *arrival) Read(b []byte) (int, error) {
	n, err := a.r.Body.Read(b)
	if a.read += n; a.read >= progress && err == nil {
		a.read = 0
		a.extend()
	}
	return n, err
}

func (a *arrival) extend() {
	if !a.in.IsDraining() {
		a.r.Context().Value(connKey{}).(*connlimit.Conn).SetReadDeadline(time.Now().Add(a.patience))
	}
}
