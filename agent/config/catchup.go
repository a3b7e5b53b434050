package config

import (
	"slices"

	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// CatchUp is how destinations catch up after an outage: see shipper.CatchUp.
type CatchUp struct {
	FreshShare float64 // of the sent bytes, for fresh events; 0: the oldest events go first
}

// checkCatchUp checks how the stream's destinations catch up, and gives it to those that can.
func checkCatchUp(b *schema.Block, s *Stream) {
	if s.CatchUp.FreshShare == 1 {
		b.Fault(b.At("fresh_share"), "fresh_share: 1 leaves nothing to older events; allowed is a decimal number over 0 and below 1, like 0.3")
	}
	for i := range s.Destinations {
		if d := &s.Destinations[i]; d.catchesUp() {
			d.CatchUp = s.CatchUp
		}
	}
	if b.Wrote("fresh_share") && len(s.Destinations) > 0 && !slices.ContainsFunc(s.Destinations, Destination.catchesUp) {
		b.Fault(b.At("fresh_share"), "fresh_share: every destination of %s keeps the order of the whole stream; "+
			"allowed is fresh_share beside a kinesis, firehose or sqs destination, or kafka with at_least_once", b.Name)
	}
}

// catchesUp reports whether the destination can get fresh events before older ones. The others keep the order of the
// whole stream.
func (d Destination) catchesUp() bool {
	switch d.Type {
	case "kinesis", "firehose", "sqs":
		return true
	case "kafka":
		return d.Kafka.Delivery != "exactly_once"
	}
	return false
}
