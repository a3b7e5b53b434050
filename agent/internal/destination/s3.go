package destination

import (
	"context"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink/s3"
)

var s3Destination = Type{
	shape: func(d config.Destination, around *shipper.Envelope) (shipper.Shape, error) {
		o := s3.Options{Envelope: around}
		return o.Shape(), nil
	},
	openRanged: func(ctx context.Context, s Spec) (ranged.Sink, error) {
		d := s.Destination
		return s3.New(ctx, s3.Options{
			Bucket: d.S3.Bucket, Prefix: d.S3.Prefix, Stream: s.EventStream, LogID: s.Branches[len(s.Branches)-1].ID,
			Format: d.S3.Format, Compression: compressionNamed(d.S3.Compression), Envelope: s.Around, Bytes: d.Format == shipper.EnvelopeBytes,
			RollSize: d.S3.RollSize, RollInterval: d.S3.RollInterval, PartSize: d.S3.PartSize, RowGroupSize: d.S3.RowGroupSize,
			PathStyle: d.S3.PathStyle, NoChecksums: !d.S3.Checksums, KMSKeyID: d.S3.KMSKeyID, Tags: d.S3.Tags, StorageClass: d.S3.StorageClass,
			AWS: awsOptions(d), Logger: s.Logger,
		})
	},
	predict: func(d config.Destination, shape shipper.Shape, t shipper.Traffic) shipper.Forecast {
		o := s3.Options{
			Format: d.S3.Format, Compression: compressionNamed(d.S3.Compression), Envelope: shape.Envelope,
			RollSize: d.S3.RollSize, RollInterval: d.S3.RollInterval, PartSize: d.S3.PartSize,
		}
		return o.Predict(t)
	},
	memory: func(d config.Destination) int64 {
		n := ofBatches + max(0, d.S3.PartSize-5<<20)*9/8 // with a part of 5 MiB
		if d.S3.Format == s3.Parquet {
			n += 2 * d.S3.RowGroupSize
		}
		return n
	},
	endpoint: awsEndpoint, Descriptors: ofRanges, UsesLink: true,
}
