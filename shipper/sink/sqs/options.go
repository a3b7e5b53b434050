package sqs

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/wal"
)

// Limits of SendMessageBatch; doc.go names their sources.
const (
	batchMessages  = 10
	maxMessage     = 1 << 20   // 256 KiB before August 2025, and at stand-ins
	leastBatch     = 256 << 10 // a request may have this size even if a queue takes only smaller messages
	maxAttributes  = 10
	ownAttributes  = 256 // bytes of standpipe-id, -key and -encoding, without the key itself
	batchOverhead  = batchMessages * ownAttributes
	leastMessage   = 1 << 10
	deduplications = 128 // characters of a deduplication ID
	billedStep     = 64 << 10
)

// Options configures an SQS destination.
type Options struct {
	QueueURL string // a name that ends in .fifo is that of a FIFO queue
	Source   string // the stream whose events are sent
	// Branches are the beginnings of the events' IDs (wal.Log.Branches).
	Branches []wal.Branch
	Base64   bool              // the data may be anything, and is sent in base64
	Envelope *shipper.Envelope // in base64 if it is MsgPack
	AWS      sink.AWS
}

// Shape returns the limits of the destination until the queue's are known.
func (o Options) Shape() (shipper.Shape, error) {
	s := shipper.Shape{
		Framing: shipper.FramingNone, OneKey: true, RecordEvents: 1, BatchRecords: batchMessages, BilledStep: 1, RequestStep: billedStep, Envelope: o.Envelope,
	}
	o.limit(&s, maxMessage)
	switch {
	case o.QueueURL == "":
		return s, errors.New("sqs: no queue is named")
	}
	return s, nil
}

// limit sets the limits of a queue that takes messages of most bytes.
func (o *Options) limit(s *shipper.Shape, most int) {
	message, batch := most, max(most, leastBatch)
	if o.Envelope == nil || o.encoded() {
		s.KeyCounts = true
		message, batch = message-ownAttributes, batch-batchOverhead
	}
	if o.encoded() {
		message, batch = message/4*3, batch/4*3
	}
	s.MaxBatch, s.MaxRecord = batch, min(message, batch)
	s.AimBatch, s.AimRecord = s.MaxBatch, s.MaxRecord
}

// encoded reports whether bodies are in base64.
func (o *Options) encoded() bool { return o.Base64 || o.Envelope != nil && o.Envelope.MsgPack }

func (o *Options) fifo() bool { return strings.HasSuffix(o.QueueURL, ".fifo") }

// ownHost matches the hosts of the service itself, with their region.
var ownHost = regexp.MustCompile(`^sqs(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com|amazonaws\.com\.cn|api\.aws)$|\.sqs\.([a-z0-9-]+)\.vpce\.amazonaws\.com$`)

// located returns o with the endpoint and the region that the queue's URL names.
func (o Options) located() (Options, error) {
	u, err := url.Parse(o.QueueURL)
	if err != nil || u.Host == "" {
		return o, fmt.Errorf("sqs: %q is no URL of a queue", o.QueueURL)
	}
	parts := ownHost.FindStringSubmatch(u.Hostname())
	if parts != nil {
		o.AWS.Region = parts[1] + parts[2]
	}
	plain := parts != nil && strings.HasPrefix(u.Host, "sqs."+parts[1]+".amazonaws.com")
	if o.AWS.Endpoint == "" && !plain {
		o.AWS.Endpoint = u.Scheme + "://" + u.Host
	}
	return o, nil
}
