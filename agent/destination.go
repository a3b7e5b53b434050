package agent

import (
	"time"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/firehose"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
)

// checkKeys is how often a Kinesis stream is asked whether it still goes by partition keys, and how
// long a record may be.
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

// endpointOf names where the destination's requests go, alike for all that one outage stops.
func endpointOf(d config.Destination) string {
	switch {
	case d.Type == "file":
		return d.Path
	case d.AWS.Endpoint != "":
		return d.AWS.Endpoint
	}
	return d.Type + " " + d.AWS.Region
}

func compressionOf(d config.Destination) shipper.Compression {
	if d.Compression == "none" {
		return shipper.Plain
	}
	return shipper.Compression(d.Compression)
}

func quotaOf(d config.Destination) shipper.Quota {
	return shipper.Quota{Bytes: int(d.Quota.Bytes), Records: int(d.Quota.Records), Requests: int(d.Quota.Requests)}
}
