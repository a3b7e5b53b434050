package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// KinesisOptions says where a Kinesis destination puts its records.
type KinesisOptions struct {
	Stream    string          // the data stream's name or ARN; an ARN's region wins over AWS.Region
	Aggregate shipper.Framing // "": FramingKPL
	AimRecord int             // bytes; 0: 500 KiB; at most MaxRecord
	MaxRecord int             // bytes, the key counted: the stream's MaxRecordSizeInKiB; 0: 1 MiB
	// CheckKeys is how often Send first asks whether the stream still goes by partition keys, and
	// refuses to ship where it does not. 0: never.
	CheckKeys time.Duration
	AWS       AWSOptions
}

// Kinesis is an Amazon Kinesis data stream as a destination.
type Kinesis struct {
	client *kinesis.Client
	stream string
	shape  shipper.Shape
	aws    AWSOptions
	keys   keyCheck
}

// NewKinesis returns the destination. It reads the AWS configuration and dials nobody.
func NewKinesis(ctx context.Context, o KinesisOptions) (*Kinesis, error) {
	shape, err := kinesisShape(o)
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
	return &Kinesis{
		client: kinesis.NewFromConfig(cfg),
		stream: o.Stream,
		shape:  shape,
		aws:    o.AWS,
		keys:   keyCheck{every: o.CheckKeys},
	}, nil
}

func kinesisShape(o KinesisOptions) (shipper.Shape, error) {
	most := kinesisMaxRecord
	if o.MaxRecord > 0 {
		most = min(o.MaxRecord, kinesisLargeRecord)
	}
	s := shipper.Shape{
		Framing:      o.Aggregate,
		OneKey:       true,
		KeyCounts:    true,
		MaxRecord:    most,
		AimRecord:    aim(o.AimRecord, most),
		BatchRecords: kinesisBatchRecords,
		MaxBatch:     max(kinesisMaxBatch, most),
		AimBatch:     kinesisMaxBatch,
		BilledStep:   kinesisBilledStep,
		UnitStep:     kinesisUnitStep,
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
	if o.Stream == "" {
		return s, errors.New("kinesis: no stream is named")
	}
	return s, nil
}

// aim returns the record size to aim for: want, or the default for 0, and limit at most.
func aim(want, limit int) int {
	if want <= 0 {
		want = defaultAimRecord
	}
	return min(want, limit)
}

// Shape never changes.
func (k *Kinesis) Shape() shipper.Shape { return k.shape }

// Send puts the batch with one PutRecords request.
func (k *Kinesis) Send(ctx context.Context, batch []shipper.Record) shipper.Reply {
	ctx, cancel := k.aws.within(ctx)
	defer cancel()
	if err := k.keys.allowed(ctx, k.Describe); err != nil {
		return shipper.Reply{Err: err, Code: "refused"}
	}
	out, err := k.client.PutRecords(ctx, k.request(batch))
	if err != nil {
		return failedReply(err, batch)
	}
	entries := make([]result, len(out.Records))
	for i, r := range out.Records {
		entries[i] = result{id: r.SequenceNumber, code: r.ErrorCode, text: r.ErrorMessage}
	}
	return replyOf(len(batch), out.FailedRecordCount, entries)
}

func (k *Kinesis) request(batch []shipper.Record) *kinesis.PutRecordsInput {
	in := &kinesis.PutRecordsInput{Records: make([]types.PutRecordsRequestEntry, len(batch))}
	for i := range batch {
		in.Records[i] = types.PutRecordsRequestEntry{
			PartitionKey: &batch[i].Key,
			Data:         present(batch[i].Data),
		}
	}
	if strings.HasPrefix(k.stream, "arn:") {
		in.StreamARN = aws.String(k.stream)
	} else {
		in.StreamName = aws.String(k.stream)
	}
	return in
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
