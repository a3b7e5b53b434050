package agent

import (
	"context"
	"fmt"
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

// destinationType is one type of destination. A new type is one more entry in destinationTypes, and one in the table of
// the same name in the package config.
type destinationType struct {
	// shape returns the sink's shape, as far as the configuration determines it.
	shape func(d config.Destination, around *shipper.Envelope) (shipper.Shape, error)
	// open and openRanged build the sink: one that takes batches, or one that takes ranges. They read files of this host and
	// open no connection. A type may have both: then ranges chooses.
	open       func(ctx context.Context, s sinkSpec) (shipper.Sink, error)
	openRanged func(ctx context.Context, s sinkSpec) (ranged.Sink, error)
	ranges     func(d config.Destination) bool
	// endpoint names the target of the requests. Destinations with the same endpoint share its outages.
	endpoint func(d config.Destination) string

	descriptors int64 // that its requests or files use at most
	usesLink    bool  // its requests count against the agent's bandwidth
	keepsState  bool  // its sink is a shipper.Keeper
}

// takesRanges reports whether the sink of d takes ranges.
func (t *destinationType) takesRanges(d config.Destination) bool {
	return t.openRanged != nil && (t.open == nil || t.ranges(d))
}

// target is the sink of a route. One of both is set.
type target struct {
	batches shipper.Sink
	ranges  ranged.Sink
}

// sinkSpec is the input of destinationType.open.
type sinkSpec struct {
	config.Destination
	eventStream string            // the stream whose events are shipped
	around      *shipper.Envelope // nil: none
	branches    []wal.Branch      // of the stream; the last one is the log's
	cursor      *wal.Cursor
	logger      hclog.Logger
	upstreams   *relay.Upstreams // nil: paths of relayed events are not known
}

// identityOf returns the ID of the log, in its latest branch.
func identityOf(branches []wal.Branch) string { return branches[len(branches)-1].ID }

// discardType cannot be named in a configuration file. Benchmarks of the stages before the sinks use it.
const discardType = "discard"

var destinationTypes = map[string]destinationType{
	"kinesis": {
		shape: func(d config.Destination, around *shipper.Envelope) (shipper.Shape, error) {
			return kinesisOptions(d, around, sink.AWS{}).Shape()
		},
		open: func(ctx context.Context, s sinkSpec) (shipper.Sink, error) {
			return kinesis.New(ctx, kinesisOptions(s.Destination, s.around, awsOptions(s.Destination)))
		},
		endpoint: awsEndpoint, descriptors: descriptorsOfCloud, usesLink: true,
	},
	"firehose": {
		shape: func(d config.Destination, around *shipper.Envelope) (shipper.Shape, error) {
			return firehoseOptions(d, around, sink.AWS{}).Shape()
		},
		open: func(ctx context.Context, s sinkSpec) (shipper.Sink, error) {
			return firehose.New(ctx, firehoseOptions(s.Destination, s.around, awsOptions(s.Destination)))
		},
		endpoint: awsEndpoint, descriptors: descriptorsOfCloud, usesLink: true,
	},
	"file": {
		shape: func(_ config.Destination, around *shipper.Envelope) (shipper.Shape, error) {
			return file.Options{Envelope: around}.Shape(), nil
		},
		open: func(_ context.Context, s sinkSpec) (shipper.Sink, error) {
			return file.Open(file.Options{
				Path: s.Path, Stream: s.eventStream, RollSize: s.RollSize, RollInterval: s.RollInterval, FileMode: s.FileMode,
				Envelope: s.around, State: s.cursor.State(), Checkpoint: s.cursor.Stat().Checkpoint, Logger: s.logger,
			})
		},
		endpoint: func(d config.Destination) string { return d.Path }, descriptors: descriptorsOfFile, keepsState: true,
	},
	"kafka":    kafkaDestination,
	"s3":       s3Destination,
	"statsd":   statsdDestination,
	stdoutType: stdoutDestination,
	"sqs":      sqsDestination,
	"relay":    relayDestination,
	discardType: {
		shape: func(config.Destination, *shipper.Envelope) (shipper.Shape, error) { return discardShape, nil },
		open: func(context.Context, sinkSpec) (shipper.Sink, error) {
			return discard.New(discardShape), nil
		},
		endpoint: awsEndpoint, descriptors: descriptorsOfCloud, usesLink: true,
	},
}

// discardShape takes whole batches of lines.
var discardShape = shipper.Shape{
	Framing: shipper.FramingLines, WholeOrder: true, BatchRecords: 1, BilledStep: 1,
	MaxRecord: 16 << 20, MaxBatch: 16 << 20, AimRecord: 1 << 20, AimBatch: 1 << 20,
}

// typeOf returns the destination's type. An unknown type is an error.
func typeOf(d config.Destination) (destinationType, error) {
	t, known := destinationTypes[d.Type]
	if !known {
		return t, fmt.Errorf("unknown type %q", d.Type)
	}
	return t, nil
}

// shapeOf returns the destination's shape, as far as the configuration determines it.
func shapeOf(d config.Destination, around *shipper.Envelope) (shipper.Shape, error) {
	t, err := typeOf(d)
	if err != nil {
		return shipper.Shape{}, err
	}
	return t.shape(d, around)
}

// openSink builds the sink of s. It reads files of this host and opens no connection.
func openSink(ctx context.Context, s sinkSpec) (target, error) {
	t, err := typeOf(s.Destination)
	if err != nil {
		return target{}, err
	}
	endStateOfOthers(&s, t.keepsState)
	if t.takesRanges(s.Destination) {
		ranges, err := t.openRanged(ctx, s)
		return target{ranges: ranges}, err
	}
	batches, err := t.open(ctx, s)
	return target{batches: batches}, err
}

// envelopeOf returns the envelope of the destination's events, whose IDs begin as branches define; nil: none. Standard output
// has one for events that are no line of JSON.
func envelopeOf(branches []wal.Branch, stream string, d config.Destination) *shipper.Envelope {
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
