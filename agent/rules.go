package agent

import (
	"fmt"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/destination"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// rulesOf returns the rules that listeners apply to a stream.
func rulesOf(c *config.Stream, limits []sizeLimit) ingest.StreamRules {
	acks := map[string]standpipev1.Ack{
		"accepted": standpipev1.Ack_ACK_ACCEPTED, "durable": standpipev1.Ack_ACK_DURABLE, "delivered": standpipev1.Ack_ACK_DELIVERED,
	}
	return ingest.StreamRules{
		Format: c.Format, MaxEventSize: int(c.MaxEventSize), Ack: acks[c.Ack], CommitLinger: c.Linger.Commit, AcceptedLinger: c.Linger.Accepted,
		Room: func(e *wal.Event) (int, string) { return smallest(limits, e) },
	}
}

// sizeLimit is one destination with its current shape.
type sizeLimit struct {
	title string
	shape func() shipper.Shape
}

func limitsOf(routes []*route) []sizeLimit {
	limits := make([]sizeLimit, len(routes))
	for i, r := range routes {
		limits[i] = sizeLimit{r.title, r.shape}
	}
	return limits
}

// newRules returns the rules of a stream that is not open, as far as the configuration determines them.
func newRules(branches []wal.Branch, name string, c *config.Stream) (rules ingest.StreamRules, err error) {
	limits := make([]sizeLimit, len(c.Destinations))
	for i, d := range c.Destinations {
		d = d.For(name)
		shape, err := destination.Shape(d, destination.Envelope(branches, name, d))
		if err != nil {
			return rules, fmt.Errorf("destination %q: %w", d.Name, err)
		}
		limits[i] = sizeLimit{titleOf(d), func() shipper.Shape { return shape }}
	}
	return rulesOf(c, limits), nil
}

// smallest returns the size of data that every destination accepts, and the destination with the smallest limit.
func smallest(limits []sizeLimit, e *wal.Event) (limit int, destination string) {
	for _, r := range limits {
		shape := r.shape()
		if room := shape.Room(e); destination == "" || room < limit {
			limit, destination = room, r.title
		}
	}
	return limit, destination
}
