package shipper

import (
	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/shipper/internal/outage"
)

// Outages writes the log lines about destinations that take no records. Shippers share it; its methods may be called from
// any goroutine.
type Outages = outage.Outages

// NewOutages returns one for the shippers of a log.
func NewOutages(log Source, logger hclog.Logger) *Outages { return outage.New(log, logger) }
