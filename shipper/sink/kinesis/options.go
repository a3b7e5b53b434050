package kinesis

import (
	"errors"
	"fmt"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
)

// Limits of PutRecords; doc.go names their sources.
const (
	maxRecord    = 1 << 20 // data and key; the default of a stream's MaxRecordSizeInKiB
	largeRecord  = 10 << 20
	maxBatch     = 5 << 20 // 10 MiB since October 2025; older services and stand-ins take 5
	batchRecords = 500
	billedStep   = 1 << 10 // on demand
	unitStep     = 25 << 10
)

// strictInFlight allows one request for each lane.
const strictInFlight = 64

// Options configures a Kinesis destination.
type Options struct {
	Stream    string          // the data stream's name or ARN; the region of an ARN replaces AWS.Region
	Aggregate shipper.Framing // "": FramingKPL
	AimRecord int             // bytes; 0: 500 KiB; at most MaxRecord
	Order     sink.Order      // "": sink.OrderKey
	// ByShard lets a record hold events of all keys of a shard. It needs FramingKPL and excludes sink.OrderStrict.
	ByShard   bool
	MaxRecord int // bytes, with the key, until the stream's MaxRecordSizeInKiB is known; 0: 1 MiB
	Envelope  *shipper.Envelope
	// Compression is for consumers that decompress each record. It excludes FramingKPL, because the library takes
	// records apart before the consumer sees them.
	Compression shipper.Compression
	// CheckKeys is the interval at which Send first queries the largest record size of the stream and whether the
	// stream still uses partition keys; 0: never. If it ignores them, Send rejects all batches unless Order is
	// sink.OrderNone. Follow lists the shards at the same interval. It also lists them early, but at most every
	// ShardsAgain; 0: 10 s.
	CheckKeys, ShardsAgain time.Duration
	Quota                  shipper.Quota // of each shard; 0: the service's own, at AWS's endpoints
	// CBOR: requests with records are in CBOR also at an endpoint that is not AWS's, as long as it takes them.
	CBOR bool
	AWS  sink.AWS
}

// shardQuota is the quota of one shard, in either capacity mode: Kinesis Data Streams Developer Guide, "Quotas and
// limits" and "Large records", November 2026. The guide has 1 MB, not 1 MiB.
var shardQuota = shipper.Quota{Bytes: 1_000_000, Records: 1000}

// Shape returns the limits of the destination until the stream has been described.
func (o Options) Shape() (shipper.Shape, error) {
	s := shipper.Shape{
		Framing:      o.Aggregate,
		OneKey:       true,
		KeyCounts:    true,
		BatchRecords: batchRecords,
		AimBatch:     maxBatch,
		BilledStep:   billedStep,
		UnitStep:     unitStep,
		Envelope:     o.Envelope,
		Compression:  o.Compression,
	}
	limitRecords(&s, o.MaxRecord, o.AimRecord)
	switch o.Order {
	case sink.OrderStrict:
		s.BatchRecords, s.InFlight = 1, strictInFlight
	case sink.OrderNone:
		s.AnyOrder = true
	case sink.OrderKey, "":
	default:
		return s, fmt.Errorf("kinesis: unknown order %q", o.Order)
	}
	switch o.Aggregate {
	case "":
		s.Framing = shipper.FramingKPL
	case shipper.FramingNone:
		s.RecordEvents = 1
	case shipper.FramingKPL, shipper.FramingLines:
	default:
		return s, fmt.Errorf("kinesis: unknown framing %q", o.Aggregate)
	}
	if s.ByShard = o.ByShard; o.ByShard && (s.Framing != shipper.FramingKPL || o.Order == sink.OrderStrict) {
		return s, fmt.Errorf("kinesis: framing %q in order %q can't be by shard", s.Framing, o.Order)
	}
	if o.Stream == "" {
		return s, errors.New("kinesis: no stream is named")
	}
	if s.Framing == shipper.FramingKPL && o.Compression != shipper.Plain {
		return s, errors.New("kinesis: aggregated records can't be compressed: nobody could take them apart")
	}
	return s, nil
}

// limitRecords sets the largest record size to most bytes (0: the service's default) and the limits that depend on it.
// want is the record size to aim for.
func limitRecords(s *shipper.Shape, most, want int) {
	if most <= 0 {
		most = maxRecord
	}
	s.MaxRecord = min(most, largeRecord)
	s.AimRecord = awsclient.AimRecord(want, s.MaxRecord)
	s.MaxBatch = max(maxBatch, s.MaxRecord)
}
