package statsd

import (
	"context"
	"net"

	"github.com/standpipe/standpipe/shipper"
)

// Check resolves the address, and sends nothing. Over UDP, no server need be there.
func (s *Sink) Check(ctx context.Context) *shipper.Error {
	d := net.Dialer{Timeout: s.o.Timeout}
	conn, err := d.DialContext(ctx, s.o.Network, s.o.Address)
	if err != nil {
		return classify(err)
	}
	conn.Close()
	return nil
}
