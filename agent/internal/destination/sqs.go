package destination

import (
	"context"
	"net/url"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/sqs"
)

var sqsDestination = Type{
	shape: func(d config.Destination, around *shipper.Envelope) (shipper.Shape, error) {
		return sqsOptions(d, around).Shape()
	},
	open: func(ctx context.Context, s Spec) (shipper.Sink, error) {
		o := sqsOptions(s.Destination, s.Around)
		o.Source, o.Branches, o.AWS = s.EventStream, s.Branches, awsOptions(s.Destination)
		return sqs.New(ctx, o)
	},
	endpoint: func(d config.Destination) string {
		if u, err := url.Parse(d.SQS.QueueURL); err == nil && d.AWS.Endpoint == "" {
			return u.Host
		}
		return awsEndpoint(d)
	},
	Descriptors: ofCloud, UsesLink: true,
}

func sqsOptions(d config.Destination, around *shipper.Envelope) sqs.Options {
	return sqs.Options{QueueURL: d.SQS.QueueURL, Base64: around == nil && d.Format == "bytes", Envelope: around}
}
