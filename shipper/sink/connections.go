package sink

import (
	"net/netip"

	"github.com/standpipe/standpipe/shipper/sink/internal/dial"
)

// Traffic returns the bytes that the TCP connections of all destinations have sent and received since the start of the process,
// with TLS and without the headers of TCP and IP.
func Traffic() (sent, received int64) { return dial.Traffic() }

// Abandon resets the TCP connections of all destinations whose local address matches, those in use too, and ends the dials
// under way: the link has gone, or has come back. Requests under way fail, and the next ones open new connections.
func Abandon(matches func(local netip.Addr) bool) { dial.Abandon(matches) }
