package sqs

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
)

// Check queries an attribute of the queue, and stores nothing. It needs a permission that Send does not need.
func (s *Sink) Check(ctx context.Context) *shipper.Error {
	_, err := s.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &s.o.QueueURL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameMaximumMessageSize},
	})
	if err != nil {
		e, _ := awsclient.Classify(err, nil)
		return e
	}
	return nil
}
