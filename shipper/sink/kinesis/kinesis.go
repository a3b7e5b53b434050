package kinesis

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
)

// Sink is an Amazon Kinesis data stream as a destination.
type Sink struct {
	client  *kinesis.Client
	json    awsclient.WholeBody // the client's protocol
	direct  *awsclient.Direct   // PutRecords
	stream  string
	order   sink.Order
	timeout time.Duration // of a request; 0: none
	format  *format

	first shipper.Shape // until the stream has been described
	aim   int
	shape atomic.Pointer[shipper.Shape]

	check     streamCheck
	shards    shardMap
	sequences sequences // sink.OrderStrict
}

// New returns the destination. It reads the AWS configuration and opens no connection.
func New(ctx context.Context, o Options) (*Sink, error) {
	shape, err := o.Shape()
	if err != nil {
		return nil, err
	}
	if a, err := arn.Parse(o.Stream); err == nil {
		o.AWS.Region = a.Region
	}
	cfg, err := awsclient.Config(ctx, o.AWS)
	if err != nil {
		return nil, err
	}
	var json awsclient.WholeBody
	client := kinesis.NewFromConfig(cfg, func(o *kinesis.Options) {
		json = awsclient.WholeBody{ClientProtocol: o.Protocol, Encode: encode}
		o.Protocol = json
	})
	options := client.Options()
	shape.Quota = awsclient.Quota(o.Quota, shardQuota, options.BaseEndpoint)
	k := &Sink{
		client:  client,
		json:    json,
		direct:  awsclient.NewDirect(options.HTTPClient, options.Credentials),
		stream:  o.Stream,
		order:   o.Order,
		timeout: o.AWS.Timeout,
		format:  formatOf(options, o.CBOR),
		first:   shape,
		aim:     o.AimRecord,
		check:   streamCheck{every: o.CheckKeys},
		shards:  shardMap{again: o.ShardsAgain, doubt: make(chan struct{}, 1)},
	}
	k.shape.Store(&shape)
	return k, nil
}

// Shape returns the present limits of the destination. They change with the stream's description.
func (k *Sink) Shape() shipper.Shape { return *k.shape.Load() }

// Send sends the batch in one PutRecords request or, with OrderStrict, its only record in a PutRecord request.
func (k *Sink) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	ctx, cancel := awsclient.Within(ctx, k.timeout)
	defer cancel()
	if err := k.allowed(ctx, batch); err != nil {
		return shipper.Response{Err: err, Code: "refused"}
	}
	ctx, sent := awsclient.CountSent(ctx)
	reply := k.put(ctx, batch)
	awsclient.NoteSent(&reply, sent)
	if refusedForLength(reply) {
		k.check.doubt()
	}
	return reply
}

func (k *Sink) put(ctx context.Context, batch []shipper.Record) shipper.Response {
	if k.order == sink.OrderStrict {
		return k.putStrict(ctx, batch)
	}
	in := k.request(batch)
	var out *kinesis.PutRecordsOutput
	err := k.format.try(ctx, func(inCBOR bool) (err error) {
		out, err = k.putRecords(ctx, in, k.format.protocol(k.json, inCBOR))
		return err
	})
	if err != nil {
		return awsclient.FailedResponse(err, batch)
	}
	entries := make([]awsclient.Result, len(out.Records))
	shards := make([]*string, len(out.Records))
	for i, r := range out.Records {
		entries[i] = awsclient.Result{ID: r.SequenceNumber, Code: r.ErrorCode, Text: r.ErrorMessage}
		shards[i] = r.ShardId
	}
	reply := awsclient.ResponseOf(len(batch), out.FailedRecordCount, entries)
	if reply.Err == nil {
		k.landed(ctx, batch, shards, &reply)
	}
	return reply
}

var putRecords = smithy.NewOperationSchema(schemas.PutRecords, schemas.PutRecordsInput, schemas.PutRecordsOutput)

func (k *Sink) putRecords(ctx context.Context, in *kinesis.PutRecordsInput, protocol awsclient.Protocol) (*kinesis.PutRecordsOutput, error) {
	out := new(kinesis.PutRecordsOutput)
	ctx, way := k.direct.Send(ctx, protocol, putRecords, in, kinesis.TypeRegistry, out)
	if way == nil {
		return out, nil
	}
	return k.client.PutRecords(ctx, in, func(o *kinesis.Options) {
		o.Protocol, o.HTTPClient, o.Credentials = way.Protocol, way.Client, way.Credentials
	})
}

func (k *Sink) request(batch []shipper.Record) *kinesis.PutRecordsInput {
	in := &kinesis.PutRecordsInput{Records: make([]types.PutRecordsRequestEntry, len(batch))}
	for i := range batch {
		in.Records[i] = types.PutRecordsRequestEntry{
			PartitionKey: &batch[i].Key,
			Data:         awsclient.Payload(batch[i].Data),
		}
	}
	in.StreamName, in.StreamARN = k.named()
	return in
}

// named returns the name or the ARN of the stream, as a request needs it; the other one is nil.
func (k *Sink) named() (name, arn *string) {
	if strings.HasPrefix(k.stream, "arn:") {
		return nil, aws.String(k.stream)
	}
	return aws.String(k.stream), nil
}

// Close releases the connections.
func (k *Sink) Close() error {
	awsclient.Release(k.client.Options().HTTPClient)
	return nil
}
