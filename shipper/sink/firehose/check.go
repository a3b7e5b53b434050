package firehose

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
)

// Check queries the state of the Firehose stream, and stores nothing. It needs a permission that Send does not need.
func (f *Sink) Check(ctx context.Context) *shipper.Error {
	out, err := f.client.DescribeDeliveryStream(ctx, &firehose.DescribeDeliveryStreamInput{DeliveryStreamName: &f.stream})
	if err != nil {
		e, _ := awsclient.Classify(err, nil)
		return e
	}
	d := out.DeliveryStreamDescription
	if d != nil && d.DeliveryStreamStatus != types.DeliveryStreamStatusActive {
		return &shipper.Error{Class: shipper.Operator, Code: string(d.DeliveryStreamStatus), Text: "the stream is not active", Record: -1}
	}
	return nil
}
