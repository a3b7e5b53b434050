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

// connContext stores the connection of a request in its context.
func connContext(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// arrived marks the connection of a request that has arrived whole. net/http has cleared its read deadline and reads
// ahead to notice a producer that closes. Drain may just have set a deadline for requests that have not arrived; it is
// cleared here, since it would pass for a close.
func arrived(in *intake.Intake, r *http.Request) *connlimit.Conn {
	c := r.Context().Value(connKey{}).(*connlimit.Conn)
	c.BeginRequest()
	if in.IsDraining() {
		c.SetReadDeadline(time.Time{})
	}
	return c
}

// arrival reads a body and extends its deadline as long as it makes progress.
type arrival struct {
	in       *intake.Intake
	r        *http.Request
	patience time.Duration
	read     int // since the deadline was set
}

// progress is the number of bytes of a body that must arrive in the read timeout.
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
