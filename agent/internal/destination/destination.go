package destination

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/discard"
	"github.com/standpipe/standpipe/shipper/sink/file"
	"github.com/standpipe/standpipe/shipper/sink/firehose"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/shipper/sink/relay"
	"github.com/standpipe/standpipe/wal"
)

// Type is one type of destination. A new type is one more entry in types, and one in the table destinationTypes of the
// package config.
type Type struct {
	// shape returns the sink's shape, as far as the configuration determines it.
	shape func(d config.Destination, around *shipper.Envelope) (shipper.Shape, error)
	// open and openRanged build the sink: one that takes batches, or one that takes ranges. They read files of this host and
	// open no connection. A type may have both: then ranges chooses.
	open       func(ctx context.Context, s Spec) (shipper.Sink, error)
	openRanged func(ctx context.Context, s Spec) (ranged.Sink, error)
	ranges     func(d config.Destination) bool
	// predict returns the forecast of a type that takes ranges; nil: that of batches.
	predict func(d config.Destination, shape shipper.Shape, t shipper.Traffic) shipper.Forecast
	// endpoint names the target of the requests. Destinations with the same endpoint share its outages.
	endpoint func(d config.Destination) string

	Descriptors int64                            // that its requests or files use at most
	memory      func(d config.Destination) int64 // see Memory; nil: ofBatches
	UsesLink    bool                             // its requests count against the agent's bandwidth
	keepsState  bool                             // its sink is a shipper.Keeper
}

// Endpoint names the target of d's requests. Destinations with the same endpoint share its outages.
func (t *Type) Endpoint(d config.Destination) string { return t.endpoint(d) }

// ofBatches is the memory of a destination that takes batches.
const ofBatches = 8 << 20

// Memory returns the bytes that d needs when it is busy.
func (t *Type) Memory(d config.Destination) int64 {
	if t.memory == nil {
		return ofBatches
	}
	return t.memory(d)
}

// constant returns the memory of destinations that all need the same.
func constant(bytes int64) func(config.Destination) int64 {
	return func(config.Destination) int64 { return bytes }
}

// takesRanges reports whether the sink of d takes ranges.
func (t *Type) takesRanges(d config.Destination) bool {
	return t.openRanged != nil && (t.open == nil || t.ranges(d))
}

// Target is the sink of a destination. One of both is set.
type Target struct {
	Batches shipper.Sink
	Ranges  ranged.Sink
}

// Spec is the input of Open.
type Spec struct {
	config.Destination
	EventStream string            // the stream whose events are shipped
	Around      *shipper.Envelope // nil: none
	Branches    []wal.Branch      // of the stream; the last one is the log's
	Cursor      *wal.Cursor
	Logger      hclog.Logger
	Upstreams   *relay.Upstreams // nil: paths of relayed events are not known
}

// LogID returns the ID of the log, in its latest branch.
func LogID(branches []wal.Branch) string { return branches[len(branches)-1].ID }

// Discard is a type that cannot be named in a configuration file. Benchmarks of the stages before the sinks use it.
const Discard = "discard"

var types = map[string]Type{
	"kinesis": {
		shape: func(d config.Destination, around *shipper.Envelope) (shipper.Shape, error) {
			return kinesisOptions(d, around, sink.AWS{}).Shape()
		},
		open: func(ctx context.Context, s Spec) (shipper.Sink, error) {
			return kinesis.New(ctx, kinesisOptions(s.Destination, s.Around, awsOptions(s.Destination)))
		},
		endpoint: awsEndpoint, Descriptors: ofCloud, UsesLink: true,
	},
	"firehose": {
		shape: func(d config.Destination, around *shipper.Envelope) (shipper.Shape, error) {
			return firehoseOptions(d, around, sink.AWS{}).Shape()
		},
		open: func(ctx context.Context, s Spec) (shipper.Sink, error) {
			return firehose.New(ctx, firehoseOptions(s.Destination, s.Around, awsOptions(s.Destination)))
		},
		endpoint: awsEndpoint, Descriptors: ofCloud, UsesLink: true,
	},
	"file": {
		shape: func(_ config.Destination, around *shipper.Envelope) (shipper.Shape, error) {
			return file.Options{Envelope: around}.Shape(), nil
		},
		open: func(_ context.Context, s Spec) (shipper.Sink, error) {
			return file.Open(file.Options{
				Path: s.Path, Stream: s.EventStream, RollSize: s.RollSize, RollInterval: s.RollInterval, FileMode: s.FileMode,
				Envelope: s.Around, State: s.Cursor.State(), Checkpoint: s.Cursor.Stat().Checkpoint, Logger: s.Logger,
			})
		},
		endpoint: func(d config.Destination) string { return d.Path }, Descriptors: ofFile, keepsState: true,
	},
	"kafka":    kafkaDestination,
	"s3":       s3Destination,
	"statsd":   statsdDestination,
	stdoutType: stdoutDestination,
	"sqs":      sqsDestination,
	"relay":    relayDestination,
	Discard: {
		shape: func(config.Destination, *shipper.Envelope) (shipper.Shape, error) { return discardShape, nil },
		open: func(context.Context, Spec) (shipper.Sink, error) {
			return discard.New(discardShape), nil
		},
		endpoint: awsEndpoint, Descriptors: ofCloud, UsesLink: true,
	},
}

// Descriptors that the requests or files of a destination use at most.
const (
	ofFile   = 4
	ofCloud  = 64 // a request for each lane
	ofRanges = 4  // one request, and one for credentials
)

// discardShape takes whole batches of lines.
var discardShape = shipper.Shape{
	Framing: shipper.FramingLines, WholeOrder: true, BatchRecords: 1, BilledStep: 1,
	MaxRecord: 16 << 20, MaxBatch: 16 << 20, AimRecord: 1 << 20, AimBatch: 1 << 20,
}

// Of returns the destination's type. An unknown type is an error.
func Of(d config.Destination) (Type, error) {
	t, known := types[d.Type]
	if !known {
		return t, fmt.Errorf("unknown type %q", d.Type)
	}
	return t, nil
}

// Types returns the names of the types that a file may have, sorted.
func Types() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(types)), func(name string) bool { return name == Discard })
}

// Shape returns the destination's shape, as far as the configuration determines it.
func Shape(d config.Destination, around *shipper.Envelope) (shipper.Shape, error) {
	t, err := Of(d)
	if err != nil {
		return shipper.Shape{}, err
	}
	return t.shape(d, around)
}

// Predict returns the predicted use of a destination of the shape.
func Predict(d config.Destination, shape shipper.Shape, t shipper.Traffic) shipper.Forecast {
	if of, err := Of(d); err == nil && of.predict != nil {
		return of.predict(d, shape, t)
	}
	return shipper.Predict(shape, t, d.Batch.MaxDelay)
}

// Open builds the sink of s. It reads files of this host and opens no connection.
func Open(ctx context.Context, s Spec) (Target, error) {
	t, err := Of(s.Destination)
	if err != nil {
		return Target{}, err
	}
	endStateOfOthers(&s, t.keepsState)
	if t.takesRanges(s.Destination) {
		ranges, err := t.openRanged(ctx, s)
		return Target{Ranges: ranges}, err
	}
	batches, err := t.open(ctx, s)
	return Target{Batches: batches}, err
}

// Envelope returns the envelope of the destination's events, whose IDs begin as branches define; nil: none. Standard output
// has one for events that are no line of JSON.
func Envelope(branches []wal.Branch, stream string, d config.Destination) *shipper.Envelope {
	bare := d.Envelope == "" && d.Type == stdoutType
	if d.Envelope == "" && !bare {
		return nil
	}
	return &shipper.Envelope{Branches: branches, Stream: stream, Format: d.Format, MsgPack: d.Envelope == "msgpack", Bare: bare}
}

// awsEndpoint returns the configured URL, or else the service and its region.
func awsEndpoint(d config.Destination) string {
	if d.AWS.Endpoint != "" {
		return d.AWS.Endpoint
	}
	return d.Type + " " + d.AWS.Region
}

func awsOptions(d config.Destination) sink.AWS {
	return sink.AWS{
		Region: d.AWS.Region, Endpoint: d.AWS.Endpoint, Profile: d.AWS.Profile, RoleARN: d.AWS.RoleARN,
		ExternalID: d.AWS.ExternalID, SessionName: d.AWS.SessionName,
		Timeout: d.Retry.Timeout,
	}
}

// checkKeys is the interval at which the Kinesis sink queries its stream's partitioning and record size.
const checkKeys = 5 * time.Minute

func kinesisOptions(d config.Destination, around *shipper.Envelope, aws sink.AWS) kinesis.Options {
	return kinesis.Options{
		Stream: d.Stream, Aggregate: shipper.Framing(d.Aggregate), ByShard: d.AggregateBy == "shard", Order: sink.Order(d.Order), AimRecord: int(d.Batch.RecordSize),
		Compression: compressionOf(d), Envelope: around, CheckKeys: checkKeys, Quota: quotaOf(d), AWS: aws,
	}
}

func firehoseOptions(d config.Destination, around *shipper.Envelope, aws sink.AWS) firehose.Options {
	return firehose.Options{
		DeliveryStream: d.DeliveryStream, AimRecord: int(d.Batch.RecordSize), Order: sink.Order(d.Order), OneKey: d.OneKeyPerRecord,
		Compression: compressionOf(d), Envelope: around, Quota: quotaOf(d), AWS: aws,
	}
}

func compressionOf(d config.Destination) shipper.Compression { return compressionNamed(d.Compression) }

func compressionNamed(name string) shipper.Compression {
	if name == "none" {
		return shipper.Plain
	}
	return shipper.Compression(name)
}

func quotaOf(d config.Destination) shipper.Quota {
	return shipper.Quota{Bytes: int(d.Quota.Bytes), Records: int(d.Quota.Records), Requests: int(d.Quota.Requests)}
}
