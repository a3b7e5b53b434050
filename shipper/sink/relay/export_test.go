package relay

import "google.golang.org/grpc"

// NewOn is New on a connection.
func NewOn(o Options, conn *grpc.ClientConn) *Sink { return newSink(o, conn, new(link)) }
