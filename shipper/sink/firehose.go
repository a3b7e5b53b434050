package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"github.com/standpipe/standpipe/shipper"
)

// Limits of PutRecordBatch; doc.go names their sources.
const (
	firehoseMaxRecord    = 1000 << 10 // before base64, the newline included
	firehoseMaxBatch     = 3 << 20    // 4 MiB; it is not said whether base64 counts
	firehoseBatchRecords = 500
	firehoseRecordEvents = 500 // with more, a record is silently not taken apart
	firehoseBilledStep   = 5 << 10
)

// FirehoseOptions says where a Firehose destination puts its records.
type FirehoseOptions struct {
	DeliveryStream string        // the Firehose stream's name
	AimRecord      int           // bytes; 0: 500 KiB; at most 1,024,000
	Order          Order         // "": OrderKey; OrderStrict is none of Firehose's
	OneKey         bool          // a record holds events of one key, for dynamic partitioning
	Quota          shipper.Quota // a zero is the service's own in that region, at AWS's endpoints
	Envelope       *shipper.Envelope
	Compression    shipper.Compression // for Firehose streams that write to S3 what they get, as it is
	AWS            AWSOptions
}

// Firehose is an Amazon Data Firehose stream, written to directly, as a destination. It has no
// keys: a record packs the lines of several unless the options say otherwise.
type Firehose struct {
	client *firehose.Client
	stream string
	shape  shipper.Shape
	aws    AWSOptions
}

// NewFirehose returns the destination. It reads the AWS configuration and dials nobody.
func NewFirehose(ctx context.Context, o FirehoseOptions) (*Firehose, error) {
	shape, err := o.Shape()
	if err != nil {
		return nil, err
	}
	cfg, err := awsConfig(ctx, o.AWS)
	if err != nil {
		return nil, err
	}
	client := firehose.NewFromConfig(cfg, func(o *firehose.Options) { o.Protocol = wholeBody{o.Protocol} })
	shape.Quota = quotaOf(o.Quota, firehoseQuota(client.Options().Region), client.Options().BaseEndpoint)
	return &Firehose{client: client, stream: o.DeliveryStream, shape: shape, aws: o.AWS}, nil
}

// Shape returns what the destination takes, but for the quota; that depends on the region.
func (o FirehoseOptions) Shape() (shipper.Shape, error) {
	s := shipper.Shape{
		Framing:      shipper.FramingLines, // never KPL: Firehose does not take it apart here
		MaxRecord:    firehoseMaxRecord,
		AimRecord:    aim(o.AimRecord, firehoseMaxRecord),
		RecordEvents: firehoseRecordEvents,
		BatchRecords: firehoseBatchRecords,
		MaxBatch:     firehoseMaxBatch,
		AimBatch:     firehoseMaxBatch,
		BilledStep:   firehoseBilledStep,
		OneKey:       o.OneKey,
		AnyOrder:     o.Order == OrderNone,
		Envelope:     o.Envelope,
		Compression:  o.Compression,
	}
	if o.Compression != shipper.Plain {
		s.RecordEvents = 0 // nobody takes it apart
	}
	switch {
	case o.DeliveryStream == "":
		return s, errors.New("firehose: no delivery stream is named")
	case o.Order != "" && o.Order != OrderKey && o.Order != OrderNone:
		return s, fmt.Errorf("firehose: unknown order %q", o.Order)
	case o.OneKey && o.Compression != shipper.Plain:
		return s, errors.New("firehose: dynamic partitioning can't read compressed records")
	}
	return s, nil
}

// Shape never changes.
func (f *Firehose) Shape() shipper.Shape { return f.shape }

// Send puts the batch with one PutRecordBatch request.
func (f *Firehose) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	ctx, cancel := f.aws.within(ctx)
	defer cancel()
	ctx, sent := countSent(ctx)
	reply := f.put(ctx, batch)
	reply.Sent = int(sent.Load())
	unsent(&reply)
	return reply
}

func (f *Firehose) put(ctx context.Context, batch []shipper.Record) shipper.Response {
	out, err := f.client.PutRecordBatch(ctx, f.request(batch))
	if err != nil {
		return failedReply(err, batch)
	}
	entries := make([]result, len(out.RequestResponses))
	for i, r := range out.RequestResponses {
		entries[i] = result{id: r.RecordId, code: r.ErrorCode, text: r.ErrorMessage}
	}
	return replyOf(len(batch), out.FailedPutCount, entries)
}

func (f *Firehose) request(batch []shipper.Record) *firehose.PutRecordBatchInput {
	in := &firehose.PutRecordBatchInput{
		DeliveryStreamName: &f.stream,
		Records:            make([]types.Record, len(batch)),
	}
	for i := range batch {
		in.Records[i].Data = present(batch[i].Data)
	}
	return in
}

// Close lets idle connections go.
func (f *Firehose) Close() error {
	closeIdle(f.client.Options().HTTPClient)
	return nil
}
