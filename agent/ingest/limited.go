package ingest

import (
	"net"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/ingest/internal/connlimit"
)

// Limited is Patient with at most most connections at a time. One above them takes the place of a connection that has been
// idle, or is closed.
func Limited(l net.Listener, most int64, logger hclog.Logger) net.Listener {
	return connlimit.New(connlimit.Options{
		Max: most, Draining: make(chan struct{}), Logger: logger, Changed: func(int) {}, Rejected: func() {},
	}).Listener(l)
}
