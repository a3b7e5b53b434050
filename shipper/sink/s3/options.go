package s3

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
)

// Formats of objects.
const (
	JSONL   = "jsonl"
	Parquet = "parquet"
)

// Limits and defaults. S3's are from the Amazon S3 User Guide, multipart upload limits, November 2026.
const (
	minPart  = 5 << 20
	maxPart  = 256 << 20 // less than S3's, since a part is in memory
	maxGroup = 1 << 30
	maxParts = 10_000

	defaultRollSize     = 64 << 20
	defaultRollInterval = 5 * time.Minute
	defaultRowGroupSize = 32 << 20

	// maxRecord is the largest event: one event may be as large as a whole gRPC request.
	maxRecord = 16<<20 + 1
)

// Options configures an S3 destination.
type Options struct {
	Bucket string
	Prefix string // strftime conversions stand for the time of writing in UTC
	Stream string // the event stream's name, which is part of the keys
	LogID  string // the ID of the log's latest branch

	Format      string              // JSONL or Parquet; "": JSONL
	Compression shipper.Compression // of the object, or of the pages of a Parquet object
	Envelope    *shipper.Envelope   // of the lines; nil: none
	Bytes       bool                // payloads are bytes; false: UTF-8. For Parquet

	RollSize     int64         // bytes of an object; 0: 64 MiB
	RollInterval time.Duration // age of an object; 0: 5 min
	PartSize     int64         // bytes of a part, in memory; 0: 5 MiB
	RowGroupSize int64         // Parquet: bytes of the events of a row group, in memory; 0: 32 MiB

	PathStyle    bool   // the bucket is in the path of requests, not in the host
	NoChecksums  bool   // for services that do not take the SDK's checksums
	KMSKeyID     string // "": as the bucket is set up
	Tags         string // of the objects, as in a URL's query
	StorageClass string // "": the bucket's default

	AWS    sink.AWS // Timeout bounds the time without progress in a request
	Clock  func() time.Time
	Logger hclog.Logger
}

func (o *Options) setDefaults() error {
	if o.Format == "" {
		o.Format = JSONL
	}
	o.RollSize = orDefault(o.RollSize, defaultRollSize)
	o.RollInterval = orDefault(o.RollInterval, defaultRollInterval)
	o.PartSize = orDefault(o.PartSize, minPart)
	o.RowGroupSize = orDefault(o.RowGroupSize, defaultRowGroupSize)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	_, tags := url.ParseQuery(o.Tags)
	switch {
	case o.Bucket == "" || o.Stream == "" || o.LogID == "":
		return errors.New("s3: bucket, stream and log ID are required")
	case o.Format != JSONL && o.Format != Parquet:
		return fmt.Errorf("s3: unknown format %q", o.Format)
	case o.Format == Parquet && o.Envelope != nil:
		return errors.New("s3: a parquet object has no envelope")
	case extensions[o.Format+" "+string(o.Compression)] == "":
		return fmt.Errorf("s3: unknown compression %q", o.Compression)
	case o.PartSize < minPart || o.PartSize > maxPart:
		return fmt.Errorf("s3: part size of %d bytes; allowed is %d to %d", o.PartSize, minPart, maxPart)
	case o.RollSize > maxParts*o.PartSize:
		return fmt.Errorf("s3: roll size of %d bytes; allowed is %d parts of %d", o.RollSize, maxParts, o.PartSize)
	case o.RowGroupSize > maxGroup:
		return fmt.Errorf("s3: row group of %d bytes; allowed is up to %d", o.RowGroupSize, maxGroup)
	case tags != nil:
		return fmt.Errorf("s3: invalid tags %q", o.Tags)
	}
	return nil
}

func orDefault[T int64 | time.Duration](v, byDefault T) T {
	if v <= 0 {
		return byDefault
	}
	return v
}

// Shape returns the limits of single events.
func (o *Options) Shape() shipper.Shape {
	return shipper.Shape{
		Framing:    shipper.FramingLines,
		WholeOrder: true,
		MaxRecord:  maxRecord,
		BilledStep: 1,
		Envelope:   o.Envelope,
	}
}
