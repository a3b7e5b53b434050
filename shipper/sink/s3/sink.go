package s3

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
	"github.com/standpipe/standpipe/shipper/sink/s3/internal/jsonl"
	"github.com/standpipe/standpipe/shipper/sink/s3/internal/parquet"
	"github.com/standpipe/standpipe/shipper/sink/s3/internal/upload"
	"github.com/standpipe/standpipe/wal"
)

// Sink is a bucket as a destination: a ranged.Sink.
type Sink struct {
	o      Options
	shape  shipper.Shape
	bucket *upload.Bucket
	names  namer
	tables parquet.Options

	again    *span   // the range of the stored state, which is to be written again; nil: none
	object   *object // of the range under way; nil: none
	searched bool    // no unfinished upload remains
}

// object is the range under way.
type object struct {
	span
	upload  *upload.Upload
	encoder encoder
	begun   time.Time
	added   time.Time // the last event
	last    uint64    // offset of the last event
	end     uint64    // the range ends at this offset, because it is written again; 0: by its size or age
	full    bool
	sealed  bool
	ended   bool // the encoder has finished
}

// encoder encodes the events of one object.
type encoder interface {
	Add(e *wal.Event)
	Size() int64 // an estimate, if the object ended now
	SizeWith(e *wal.Event) int64
	Finish()
}

// Metadata of an object.
const (
	metaAttempt = "standpipe-attempt" // the attempt's ID
	metaFirst   = "standpipe-first"   // the offset in the key
	metaLast    = "standpipe-last"    // the offset of the last event; not for multipart uploads
)

// New returns the destination. It reads the AWS configuration and opens no connection.
func New(ctx context.Context, o Options) (*Sink, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	names, err := newNamer(&o)
	if err != nil {
		return nil, err
	}
	cfg, err := awsclient.Config(ctx, o.AWS)
	if err != nil {
		return nil, err
	}
	client := s3.NewFromConfig(cfg, func(c *s3.Options) {
		c.UsePathStyle = o.PathStyle || localName(o.AWS.Endpoint)
		if o.NoChecksums {
			c.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			c.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		}
	})
	return &Sink{
		o: o, shape: o.Shape(), names: names, tables: parquet.Options{
			Stream: o.Stream, Bytes: o.Bytes, RowGroupSize: int(o.RowGroupSize),
		},
		bucket: &upload.Bucket{
			Client: client, Name: o.Bucket, PartSize: int(o.PartSize), Timeout: o.AWS.Timeout,
			KMSKeyID: o.KMSKeyID, Tags: o.Tags, StorageClass: o.StorageClass,
		},
	}, nil
}

// localName reports whether the host of an endpoint is a name without a domain, like localhost or minio. Names of buckets
// below it rarely resolve.
func localName(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && u.Hostname() != "" && !strings.Contains(u.Hostname(), ".")
}

// Shape never changes.
func (s *Sink) Shape() shipper.Shape { return s.shape }

// Add encodes events into the object of the range, and uploads each whole part.
func (s *Sink) Add(ctx context.Context, events []wal.Event) (n int, _ *ranged.Error) {
	if err := s.flush(ctx); err != nil { // a part whose upload failed before
		return 0, err
	}
	for n < len(events) {
		e := &events[n]
		fits, rejected := s.admit(e)
		switch {
		case rejected:
			return n, s.reject(events[n:])
		case !fits:
			s.object.full = true
			return n, nil
		}
		if s.object == nil {
			s.begin(e.Offset)
		}
		s.object.add(e, s.o.Clock())
		n++
		if s.object.encoder.Size() >= s.o.RollSize && s.object.end == 0 {
			s.object.full = true
		}
		if err := s.flush(ctx); err != nil {
			return n, err
		}
	}
	return n, nil
}

// admit reports whether e becomes part of the range. A range without events has space for any event. An event that a
// Parquet object cannot hold ends a range first, and is rejected at the beginning of the next, so that no upload is
// discarded for it. Only a range that is written again cannot end before it.
func (s *Sink) admit(e *wal.Event) (fits, rejected bool) {
	if s.again != nil && e.Offset > s.again.last() {
		s.again = nil // all of its events are settled
	}
	o := s.object
	invalid := s.format() == Parquet && s.tables.Check(e) != nil
	switch {
	case o == nil:
		return !invalid, invalid
	case o.end > 0:
		return e.Offset <= o.end && !invalid, e.Offset <= o.end && invalid
	case invalid || o.full:
		return false, false
	}
	return o.encoder.SizeWith(e) <= s.o.RollSize, false
}

// format returns the format of the range under way, or of the next one.
func (s *Sink) format() string {
	switch {
	case s.object != nil:
		return s.object.Format
	case s.again != nil:
		return s.again.Format
	}
	return s.o.Format
}

// reject rejects the events that a Parquet object cannot hold.
func (s *Sink) reject(events []wal.Event) *ranged.Error {
	err := &ranged.Error{Restart: true, Error: shipper.Error{
		Class: shipper.Poison, Code: "NotUTF8", Text: parquet.ErrNotUTF8.Error(), Record: -1,
	}}
	for i := range events {
		if reason := s.tables.Check(&events[i]); reason != nil {
			err.Rejected = append(err.Rejected, ranged.Rejection{Offset: events[i].Offset, Reason: reason.Error()})
		}
	}
	return err
}

// begin begins the object of a range whose first event is at the offset first, or a further attempt to write the range of
// the stored state.
func (s *Sink) begin(first uint64) {
	o := &object{begun: s.o.Clock()}
	if s.again != nil {
		o.span, o.end = *s.again, s.again.last()
	} else {
		o.span = span{
			Kind: stateKind, Endpoint: s.o.AWS.Endpoint, Bucket: s.o.Bucket,
			Format: s.o.Format, Compression: s.o.Compression, First: first,
			Key: s.names.key(o.begun, first, extensions[s.o.Format+" "+string(s.o.Compression)]),
		}
	}
	o.UploadID = ""
	o.span.add()
	o.upload = upload.New(s.bucket, upload.Object{
		Key: o.Key, ContentType: contentTypes[o.Format+" "+string(o.Compression)],
		Metadata: map[string]string{metaAttempt: o.latest().ID, metaFirst: strconv.FormatUint(o.First, 10)},
	})
	o.encoder = s.encode(o)
	s.object = o
}

// contentTypes of objects, by format and compression.
var contentTypes = map[string]string{
	JSONL + " " + string(shipper.Plain):   "application/x-ndjson",
	JSONL + " " + string(shipper.Gzip):    "application/gzip",
	JSONL + " " + string(shipper.Zstd):    "application/zstd",
	Parquet + " " + string(shipper.Plain): "application/vnd.apache.parquet",
	Parquet + " " + string(shipper.Gzip):  "application/vnd.apache.parquet",
	Parquet + " " + string(shipper.Zstd):  "application/vnd.apache.parquet",
}

func (s *Sink) encode(o *object) encoder {
	if o.Format == JSONL {
		return jsonl.NewWriter(o.upload, o.Compression, s.o.Envelope)
	}
	tables := s.tables
	if tables.Compression = string(o.Compression); o.Compression == shipper.Plain {
		tables.Compression = "none"
	}
	return parquet.NewWriter(o.upload, tables)
}

func (o *object) add(e *wal.Event, now time.Time) {
	o.encoder.Add(e)
	o.last, o.added = e.Offset, now
	if o.end > 0 && e.Offset >= o.end {
		o.full = true
	}
}

// flush uploads the whole parts of the range under way.
func (s *Sink) flush(ctx context.Context) *ranged.Error {
	if s.object == nil || !s.object.upload.Full() {
		return nil
	}
	err := s.object.upload.Flush(ctx)
	if err == nil {
		return nil
	}
	return &ranged.Error{Error: *classify(err), Restart: codeOf(err) == "NoSuchUpload"}
}

// Due returns the time at which the object is old enough, or has all events of a range that is written again. Such a
// range ends earlier only if no event came for the interval: then its last events were settled in another way.
func (s *Sink) Due() time.Time {
	switch o := s.object; {
	case o == nil || o.sealed:
		return time.Time{}
	case o.full:
		return o.begun
	case o.end > 0:
		return o.added.Add(s.o.RollInterval)
	default:
		return o.begun.Add(s.o.RollInterval)
	}
}

// Seal ends the range. The encoder finishes in Commit, since that can take a while.
func (s *Sink) Seal() (state []byte) {
	o := s.object
	o.sealed = true
	o.latest().Last = o.last
	o.UploadID = o.upload.ID()
	o.upload.SetMetadata(metaLast, strconv.FormatUint(o.last, 10))
	return o.span.encode()
}

// Abort discards the object. An upload that cannot be aborted now is aborted in Recover.
func (s *Sink) Abort(ctx context.Context) {
	if s.object == nil {
		return
	}
	s.discard(ctx, s.object)
	s.object = nil
}

func (s *Sink) discard(ctx context.Context, o *object) {
	if err := o.upload.Abort(ctx); err != nil && codeOf(err) != "NoSuchUpload" {
		s.searched = false
		s.o.Logger.Debug("upload not aborted", "key", o.Key, "error", classify(err))
	}
}

// Close releases the connections. The upload of a range that is not sealed remains, and is aborted at the next start.
func (s *Sink) Close() error {
	awsclient.Release(s.bucket.Client.Options().HTTPClient)
	return nil
}

var _ ranged.Sink = (*Sink)(nil)

// String returns the bucket and the prefix, for log lines.
func (s *Sink) String() string { return fmt.Sprintf("s3://%s/%s", s.o.Bucket, s.o.Prefix) }
