package relay

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

const (
	aimRequest     = 1 << 20 // bytes
	requestEvents  = 8 << 10
	maxEvent       = 15 << 20 // bytes of an event's data: a request of 16 MiB, the default of a listener, with key and attributes
	maxProducerLen = 128      // bytes of a producer ID
)

// The responses of the receiver at which events are delivered: it has synced them, or its destinations have them.
const (
	AckDurable   = client.AckDurable
	AckDelivered = client.AckDelivered
)

// Options configures a relay destination.
type Options struct {
	Address     string // of the receiver: host:port or unix:///path
	Stream      string // of the receiver
	Source      string // the stream whose events are relayed
	Destination string // the name of the destination
	// Run distinguishes a run that sends events again on purpose. The receiver stores them again. "": the destination's own.
	Run string
	// Branches are the beginnings of the events' IDs (wal.Log.Branches). The producer IDs begin with them.
	Branches []wal.Branch

	TLS       *TLS          // nil: none
	TokenFile string        // "": none
	Ack       client.Ack    // 0: client.AckDurable; or client.AckDelivered
	MaxDelay  time.Duration // the longest wait of an event for further ones
	Timeout   time.Duration // of a request; 0: none
	// Path returns the path of the next request (Upstreams.Path); nil: requests carry none.
	Path func() string
}

// TLS is the TLS of the connection.
type TLS struct {
	CAFile            string // "": the system's CAs
	CertFile, KeyFile string // "": no client certificate
	ServerName        string // "": the host of the address
}

// Shape returns the limits of single events.
func (Options) Shape() shipper.Shape {
	return shipper.Shape{
		Framing: shipper.FramingNone, WholeOrder: true, BatchRecords: 1, BilledStep: 1,
		MaxRecord: maxEvent, AimRecord: aimRequest, MaxBatch: maxEvent, AimBatch: aimRequest,
	}
}

func (o *Options) check() error {
	switch {
	case o.Stream == "" || o.Source == "" || o.Destination == "":
		return errors.New("relay: no stream or no destination is named")
	case len(o.Branches) == 0:
		return errors.New("relay: the log has no ID")
	case o.Ack != client.AckDefault && o.Ack != client.AckDurable && o.Ack != client.AckDelivered:
		return fmt.Errorf("relay: ack level %d: durable and delivered are allowed", o.Ack)
	}
	return nil
}

// branch is a run of offsets with one producer ID.
type branch struct {
	first    uint64
	producer string
}

// branches returns the producer IDs, ascending by offset. Two logs with the same ID and offset share the event, so the
// receiver stores it once. The name of the stream and of the destination are parts of the ID because each of them leaves
// out other offsets.
func (o *Options) branches() (all []branch) {
	name := o.Source + "/" + o.Destination
	if o.Run != "" {
		name += "/" + o.Run
	}
	for _, b := range o.Branches {
		id := b.ID + "/" + name
		if len(id) > maxProducerLen {
			sum := sha256.Sum256([]byte(name))
			id = b.ID + "/" + hex.EncodeToString(sum[:16])
		}
		all = append(all, branch{b.First, id})
	}
	return all
}
