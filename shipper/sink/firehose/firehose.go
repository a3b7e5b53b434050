package firehose

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/schemas"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/smithy-go"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
)

// Limits of PutRecordBatch; doc.go names their sources.
const (
	maxRecord    = 1000 << 10 // before base64, the newline included
	maxBatch     = 3 << 20    // 4 MiB; not documented whether base64 counts
	batchRecords = 500
	recordEvents = 500 // a record with more is not taken apart, without an error
	billedStep   = 5 << 10
)

// Options configures a Firehose destination.
type Options struct {
	DeliveryStream string        // the Firehose stream's name
	AimRecord      int           // bytes; 0: 500 KiB; at most 1,024,000
	Order          sink.Order    // "": sink.OrderKey; sink.OrderStrict is not supported
	OneKey         bool          // a record holds events of one key, for dynamic partitioning
	Quota          shipper.Quota // 0: the service's own in that region, at AWS's endpoints
	Envelope       *shipper.Envelope
	Compression    shipper.Compression // for Firehose streams that write records to S3 unchanged
	AWS            sink.AWS
}

// Sink is an Amazon Data Firehose stream, written to directly, as a destination. Firehose has no keys: a record packs
// the lines of several keys unless OneKey is set.
type Sink struct {
	client  *firehose.Client
	json    awsclient.WholeBody // the client's protocol
	direct  *awsclient.Direct   // PutRecordBatch
	stream  string
	shape   shipper.Shape
	timeout time.Duration // of a request; 0: none
}

// New returns the destination. It reads the AWS configuration and opens no connection.
func New(ctx context.Context, o Options) (*Sink, error) {
	shape, err := o.Shape()
	if err != nil {
		return nil, err
	}
	cfg, err := awsclient.Config(ctx, o.AWS)
	if err != nil {
		return nil, err
	}
	var json awsclient.WholeBody
	client := firehose.NewFromConfig(cfg, func(o *firehose.Options) {
		json = awsclient.WholeBody{ClientProtocol: o.Protocol, Encode: encode}
		o.Protocol = json
	})
	options := client.Options()
	shape.Quota = awsclient.Quota(o.Quota, regionQuota(options.Region), options.BaseEndpoint)
	direct := awsclient.NewDirect(options.HTTPClient, options.Credentials)
	return &Sink{client: client, json: json, direct: direct, stream: o.DeliveryStream, shape: shape, timeout: o.AWS.Timeout}, nil
}

// Shape returns the limits of the destination, except for the quota, which depends on the region.
func (o Options) Shape() (shipper.Shape, error) {
	s := shipper.Shape{
		Framing:      shipper.FramingLines, // never KPL: Firehose does not take it apart here
		MaxRecord:    maxRecord,
		AimRecord:    awsclient.AimRecord(o.AimRecord, maxRecord),
		RecordEvents: recordEvents,
		BatchRecords: batchRecords,
		MaxBatch:     maxBatch,
		AimBatch:     maxBatch,
		BilledStep:   billedStep,
		OneKey:       o.OneKey,
		AnyOrder:     o.Order == sink.OrderNone,
		Envelope:     o.Envelope,
		Compression:  o.Compression,
	}
	if o.Compression != shipper.Plain {
		s.RecordEvents = 0 // a compressed record is not taken apart
	}
	switch {
	case o.DeliveryStream == "":
		return s, errors.New("firehose: no delivery stream is named")
	case o.Order != "" && o.Order != sink.OrderKey && o.Order != sink.OrderNone:
		return s, fmt.Errorf("firehose: unknown order %q", o.Order)
	case o.OneKey && o.Compression != shipper.Plain:
		return s, errors.New("firehose: dynamic partitioning can't read compressed records")
	}
	return s, nil
}

// Shape never changes.
func (f *Sink) Shape() shipper.Shape { return f.shape }

// Send sends the batch in one PutRecordBatch request.
func (f *Sink) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	ctx, cancel := awsclient.Within(ctx, f.timeout)
	defer cancel()
	ctx, sent := awsclient.CountSent(ctx)
	reply := f.put(ctx, batch)
	awsclient.NoteSent(&reply, sent)
	return reply
}

func (f *Sink) put(ctx context.Context, batch []shipper.Record) shipper.Response {
	out, err := f.putRecordBatch(ctx, f.request(batch))
	if err != nil {
		return awsclient.FailedResponse(err, batch)
	}
	entries := make([]awsclient.Result, len(out.RequestResponses))
	for i, r := range out.RequestResponses {
		entries[i] = awsclient.Result{ID: r.RecordId, Code: r.ErrorCode, Text: r.ErrorMessage}
	}
	return awsclient.ResponseOf(len(batch), out.FailedPutCount, entries)
}

var putRecordBatch = smithy.NewOperationSchema(schemas.PutRecordBatch, schemas.PutRecordBatchInput, schemas.PutRecordBatchOutput)

func (f *Sink) putRecordBatch(ctx context.Context, in *firehose.PutRecordBatchInput) (*firehose.PutRecordBatchOutput, error) {
	out := new(firehose.PutRecordBatchOutput)
	ctx, way := f.direct.Send(ctx, f.json, putRecordBatch, in, firehose.TypeRegistry, out)
	if way == nil {
		return out, nil
	}
	return f.client.PutRecordBatch(ctx, in, func(o *firehose.Options) {
		o.Protocol, o.HTTPClient, o.Credentials = way.Protocol, way.Client, way.Credentials
	})
}

func (f *Sink) request(batch []shipper.Record) *firehose.PutRecordBatchInput {
	in := &firehose.PutRecordBatchInput{
		DeliveryStreamName: &f.stream,
		Records:            make([]types.Record, len(batch)),
	}
	for i := range batch {
		in.Records[i].Data = awsclient.Payload(batch[i].Data)
	}
	return in
}

// Close releases the connections.
func (f *Sink) Close() error {
	awsclient.Release(f.client.Options().HTTPClient)
	return nil
}
