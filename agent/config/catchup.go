package config

import (
	"slices"

	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// The orders in which a destination catches up after an outage.
const (
	OldestFirst = "oldest_first"
	Latest      = "latest"
)

// CatchUp is how destinations catch up after an outage: see shipper.CatchUp.
type CatchUp struct {
	Order      string  // OldestFirst or Latest; of a destination empty unless its stream's CatchUp has an effect
	FreshShare float64 // of the sent bytes, for fresh events, beside OldestFirst; 0: the oldest events go first
}

// checkCatchUp checks how the stream's destinations catch up, and gives it to those that can.
func checkCatchUp(b *schema.Block, s *Stream) {
	if s.CatchUp.FreshShare == 1 {
		b.Fault(b.At("fresh_share"), "fresh_share: 1 leaves nothing to older events; allowed is a decimal number over 0 and below 1, like 0.3")
	}
	if b.Wrote("fresh_share") && s.CatchUp.Order == Latest {
		b.Fault(b.At("fresh_share"), `fresh_share: catch_up = "latest" sends fresh events first; allowed is fresh_share beside catch_up = "oldest_first"`)
	}
	if s.CatchUp == (CatchUp{Order: OldestFirst}) {
		return
	}
	can := false
	for i := range s.Destinations {
		if d := &s.Destinations[i]; d.catchesUp() {
			d.CatchUp, can = s.CatchUp, true
		}
	}
	for _, name := range []string{"catch_up", "fresh_share"} {
		if b.Wrote(name) && len(s.Destinations) > 0 && !can {
			b.Fault(b.At(name), "%s: every destination of %s keeps the order of the whole stream; "+
				"allowed is %s beside a kinesis, firehose or sqs destination, or kafka with at_least_once", name, b.Name, name)
		}
	}
}

// catchesUp reports whether the destination can get fresh events before older ones. The others keep the order of the
// whole stream.
func (d *Destination) catchesUp() bool {
	return slices.Contains([]string{"kinesis", "firehose", "sqs"}, d.Type) || d.Type == "kafka" && d.Kafka.Delivery != "exactly_once"
}
