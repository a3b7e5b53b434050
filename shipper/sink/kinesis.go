package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/standpipe/standpipe/shipper"
)

// Limits of PutRecords; doc.go names their sources.
const (
	kinesisMaxRecord    = 1 << 20 // data and key; a stream's MaxRecordSizeInKiB unless raised
	kinesisLargeRecord  = 10 << 20
	kinesisMaxBatch     = 5 << 20 // 10 MiB since October 2025; older services and stand-ins take 5
	kinesisBatchRecords = 500
	kinesisBilledStep   = 1 << 10 // on demand
	kinesisUnitStep     = 25 << 10
)

// defaultAimRecord is the record size to aim for unless the options name one.
const defaultAimRecord = 500 << 10

// Order is what a destination keeps of the order of a key's events.
type Order string

// The orders. OrderKey puts a key's next record after the one before was acknowledged, which the
// service calls coarse; OrderStrict names it the one before, for its guarantee of strictly
// increasing sequence numbers, at the price of a request a record; OrderNone keeps none.
const (
	OrderKey    Order = "key"
	OrderStrict Order = "strict"
	OrderNone   Order = "none"
)

// strictInFlight is a request for each lane.
const strictInFlight = 64

// KinesisOptions says where a Kinesis destination puts its records.
type KinesisOptions struct {
	Stream    string          // the data stream's name or ARN; an ARN's region wins over AWS.Region
	Aggregate shipper.Framing // "": FramingKPL
	AimRecord int             // bytes; 0: 500 KiB; at most MaxRecord
	Order     Order           // "": OrderKey
	// ByShard lets a record hold events of all keys of a shard; with FramingKPL, and not OrderStrict.
	ByShard   bool
	MaxRecord int // bytes, the key counted, until the stream says its MaxRecordSizeInKiB; 0: 1 MiB
	Envelope  *shipper.Envelope
	// Compression is for consumers that decompress a record; not with FramingKPL, which their library
	// takes apart before they see it.
	Compression shipper.Compression
	// CheckKeys is how often Send first asks the stream how long a record may be, and whether it still
	// goes by partition keys: where it does not, it refuses to ship unless Order is OrderNone. 0: never.
	// Follow asks for the shards as often, and early at most every ShardsAgain; 0: 10 s.
	CheckKeys, ShardsAgain time.Duration
	Quota                  shipper.Quota // of each shard; a zero is the service's own, at AWS's endpoints
	AWS                    AWSOptions
}

// Kinesis is an Amazon Kinesis data stream as a destination.
type Kinesis struct {
	client *kinesis.Client
	stream string
	order  Order
	aws    AWSOptions

	first shipper.Shape // before the stream has said anything
	aim   int
	shape atomic.Pointer[shipper.Shape]

	check     streamCheck
	shards    shardMap
	sequences sequences // OrderStrict
}

// NewKinesis returns the destination. It reads the AWS configuration and dials nobody.
func NewKinesis(ctx context.Context, o KinesisOptions) (*Kinesis, error) {
	shape, err := o.Shape()
	if err != nil {
		return nil, err
	}
	if a, err := arn.Parse(o.Stream); err == nil {
		o.AWS.Region = a.Region
	}
	cfg, err := awsConfig(ctx, o.AWS)
	if err != nil {
		return nil, err
	}
	client := kinesis.NewFromConfig(cfg, func(o *kinesis.Options) { o.Protocol = wholeBody{o.Protocol} })
	shape.Quota = quotaOf(o.Quota, shardQuota, client.Options().BaseEndpoint)
	k := &Kinesis{
		client: client,
		stream: o.Stream,
		order:  o.Order,
		aws:    o.AWS,
		first:  shape,
		aim:    o.AimRecord,
		check:  streamCheck{every: o.CheckKeys},
		shards: shardMap{again: o.ShardsAgain, doubt: make(chan struct{}, 1)},
	}
	k.shape.Store(&shape)
	return k, nil
}

// Shape returns what the destination takes before the stream has said anything of itself.
func (o KinesisOptions) Shape() (shipper.Shape, error) {
	s := shipper.Shape{
		Framing:      o.Aggregate,
		OneKey:       true,
		KeyCounts:    true,
		BatchRecords: kinesisBatchRecords,
		AimBatch:     kinesisMaxBatch,
		BilledStep:   kinesisBilledStep,
		UnitStep:     kinesisUnitStep,
		Envelope:     o.Envelope,
		Compression:  o.Compression,
	}
	limitRecords(&s, o.MaxRecord, o.AimRecord)
	switch o.Order {
	case OrderStrict:
		s.BatchRecords, s.InFlight = 1, strictInFlight
	case OrderNone:
		s.AnyOrder = true
	case OrderKey, "":
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
	if s.ByShard = o.ByShard; o.ByShard && (s.Framing != shipper.FramingKPL || o.Order == OrderStrict) {
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

// limitRecords sets how long a record may be, 0 being the default of the service, and what follows.
func limitRecords(s *shipper.Shape, most, want int) {
	if most <= 0 {
		most = kinesisMaxRecord
	}
	s.MaxRecord = min(most, kinesisLargeRecord)
	s.AimRecord = aim(want, s.MaxRecord)
	s.MaxBatch = max(kinesisMaxBatch, s.MaxRecord)
}

// aim returns the record size to aim for: want, or the default for 0, and limit at most.
func aim(want, limit int) int {
	if want <= 0 {
		want = defaultAimRecord
	}
	return min(want, limit)
}

// Shape follows what the stream last said of itself.
func (k *Kinesis) Shape() shipper.Shape { return *k.shape.Load() }

// Send puts the batch with one PutRecords request, or, in strict order, its record with PutRecord.
func (k *Kinesis) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	ctx, cancel := k.aws.within(ctx)
	defer cancel()
	if err := k.allowed(ctx, batch); err != nil {
		return shipper.Response{Err: err, Code: "refused"}
	}
	ctx, sent := countSent(ctx)
	reply := k.put(ctx, batch)
	reply.Sent = int(sent.Load())
	unsent(&reply)
	if refusedForLength(reply) {
		k.check.doubt()
	}
	return reply
}

func (k *Kinesis) put(ctx context.Context, batch []shipper.Record) shipper.Response {
	if k.order == OrderStrict {
		return k.putStrict(ctx, batch)
	}
	out, err := k.client.PutRecords(ctx, k.request(batch))
	if err != nil {
		return failedReply(err, batch)
	}
	entries := make([]result, len(out.Records))
	shards := make([]*string, len(out.Records))
	for i, r := range out.Records {
		entries[i] = result{id: r.SequenceNumber, code: r.ErrorCode, text: r.ErrorMessage}
		shards[i] = r.ShardId
	}
	reply := replyOf(len(batch), out.FailedRecordCount, entries)
	if reply.Err == nil {
		k.landed(ctx, batch, shards, &reply)
	}
	return reply
}

func (k *Kinesis) request(batch []shipper.Record) *kinesis.PutRecordsInput {
	in := &kinesis.PutRecordsInput{Records: make([]types.PutRecordsRequestEntry, len(batch))}
	for i := range batch {
		in.Records[i] = types.PutRecordsRequestEntry{
			PartitionKey: &batch[i].Key,
			Data:         present(batch[i].Data),
		}
	}
	in.StreamName, in.StreamARN = k.named()
	return in
}

// named returns the stream as a request names it: by name or by ARN.
func (k *Kinesis) named() (name, arn *string) {
	if strings.HasPrefix(k.stream, "arn:") {
		return nil, aws.String(k.stream)
	}
	return aws.String(k.stream), nil
}

// present makes an empty payload one that the SDK takes for given.
func present(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}

// Close lets idle connections go.
func (k *Kinesis) Close() error {
	closeIdle(k.client.Options().HTTPClient)
	return nil
}
