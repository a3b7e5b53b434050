package cloud

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/smithy-go"

	"github.com/standpipe/standpipe/agent/provision/internal/wanted"
)

// KindDelivery is the kind of a Firehose stream.
const KindDelivery = "Firehose stream"

type delivery struct {
	at     *clients
	wanted wanted.Delivery
}

func (d *delivery) Kind() string        { return KindDelivery }
func (d *delivery) Name() string        { return d.wanted.Name }
func (d *delivery) Place() wanted.Place { return d.wanted.Place }
func (d *delivery) Settings() string {
	return list("from "+sourceOf(d.source()), "to bucket "+d.wanted.Bucket)
}

// source returns the ARN of the Kinesis stream, or "".
func (d *delivery) source() string {
	if d.wanted.Source == "" {
		return ""
	}
	return wanted.Stream{Place: d.wanted.Place, Name: d.wanted.Source}.ARN()
}

func sourceOf(arn string) string {
	if arn == "" {
		return "producers"
	}
	return "Kinesis stream " + arn[strings.LastIndex(arn, "/")+1:]
}

func (d *delivery) Read(ctx context.Context) (State, error) {
	have, err := d.describe(ctx)
	if is(err, "ResourceNotFoundException") {
		return State{}, nil
	}
	if err != nil {
		return State{}, err
	}
	status := have.DeliveryStreamStatus
	state := State{Found: true, Unfinished: status != types.DeliveryStreamStatusActive}
	source := ""
	if have.Source != nil && have.Source.KinesisStreamSourceDescription != nil {
		source = aws.ToString(have.Source.KinesisStreamSourceDescription.KinesisStreamARN)
	}
	state.differs("source", sourceOf(source), sourceOf(d.source()))
	if len(have.Destinations) == 0 || have.Destinations[0].ExtendedS3DestinationDescription == nil {
		state.differs("destination", "not a bucket", "bucket "+d.wanted.Bucket)
		return state, nil
	}
	s3 := have.Destinations[0].ExtendedS3DestinationDescription
	state.differs("bucket", strings.TrimPrefix(aws.ToString(s3.BucketARN), "arn:"+d.wanted.Partition()+":s3:::"), d.wanted.Bucket)
	state.differs("role", aws.ToString(s3.RoleARN), d.wanted.RoleARN())
	state.differs("prefix", aws.ToString(s3.Prefix), d.wanted.Prefix())
	return state, nil
}

func (d *delivery) describe(ctx context.Context) (*types.DeliveryStreamDescription, error) {
	out, err := d.at.firehose.DescribeDeliveryStream(ctx, &firehose.DescribeDeliveryStreamInput{DeliveryStreamName: &d.wanted.Name})
	if err != nil {
		return nil, err
	}
	return out.DeliveryStreamDescription, nil
}

func (d *delivery) Create(ctx context.Context, have State) error {
	if !have.Found {
		// A new role is not known everywhere at once.
		err := d.at.until(ctx, knownWithin, func(ctx context.Context) error {
			_, err := d.at.firehose.CreateDeliveryStream(ctx, d.input())
			if unknownRole(err) {
				return notYet{err}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return d.at.until(ctx, activeWithin, func(ctx context.Context) error {
		now, err := d.describe(ctx)
		if err != nil {
			return unseen(err, have)
		}
		switch now.DeliveryStreamStatus {
		case types.DeliveryStreamStatusActive:
			return nil
		case types.DeliveryStreamStatusCreatingFailed, types.DeliveryStreamStatusDeletingFailed:
			return fmt.Errorf("the state is %s%s: delete it, then run the command again", now.DeliveryStreamStatus, failure(now))
		}
		return inState(string(now.DeliveryStreamStatus))
	})
}

// failure returns the reason of AWS, if there is one.
func failure(have *types.DeliveryStreamDescription) string {
	if have.FailureDescription == nil {
		return ""
	}
	return " (" + string(have.FailureDescription.Type) + ": " + aws.ToString(have.FailureDescription.Details) + ")"
}

// unknownRole reports whether Firehose could not assume or use the role, which also has the code of an invalid argument.
func unknownRole(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "InvalidArgumentException" && strings.Contains(strings.ToLower(api.ErrorMessage()), "role")
}

func (d *delivery) input() *firehose.CreateDeliveryStreamInput {
	w := d.wanted
	to := &types.ExtendedS3DestinationConfiguration{
		BucketARN: aws.String(wanted.Bucket{Place: w.Place, Name: w.Bucket}.ARN()), RoleARN: aws.String(w.RoleARN()),
		Prefix: aws.String(w.Prefix()), ErrorOutputPrefix: aws.String(w.ErrorPrefix()),
		BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(wanted.BufferMiB), IntervalInSeconds: aws.Int32(wanted.BufferSeconds)},
	}
	if w.Newline {
		to.ProcessingConfiguration = &types.ProcessingConfiguration{Enabled: aws.Bool(true), Processors: []types.Processor{{Type: types.ProcessorTypeAppendDelimiterToRecord}}}
	}
	in := &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: &w.Name, DeliveryStreamType: types.DeliveryStreamTypeDirectPut, ExtendedS3DestinationConfiguration: to,
	}
	if w.Source == "" {
		in.DeliveryStreamEncryptionConfigurationInput = &types.DeliveryStreamEncryptionConfigurationInput{KeyType: types.KeyTypeAwsOwnedCmk}
		return in
	}
	in.DeliveryStreamType = types.DeliveryStreamTypeKinesisStreamAsSource
	in.KinesisStreamSourceConfiguration = &types.KinesisStreamSourceConfiguration{KinesisStreamARN: aws.String(d.source()), RoleARN: aws.String(w.RoleARN())}
	return in
}
