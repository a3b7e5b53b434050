package relay

import (
	"google.golang.org/grpc"

	"github.com/standpipe/standpipe/shipper/sink/internal/dial"
)

// NewOn is New on a connection.
func NewOn(o Options, conn *grpc.ClientConn) *Sink { return newSink(o, conn, new(dial.Dialer)) }
