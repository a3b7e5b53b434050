package sqs

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
)

// Sink is an Amazon SQS queue as a destination.
type Sink struct {
	client *sqs.Client
	o      Options
	shape  atomic.Pointer[shipper.Shape]
	most   atomic.Int64 // bytes of a message
}

// New returns the destination. It reads the AWS configuration and opens no connection.
func New(ctx context.Context, o Options) (*Sink, error) {
	shape, err := o.Shape()
	if err != nil {
		return nil, err
	}
	if o, err = o.located(); err != nil {
		return nil, err
	}
	cfg, err := awsclient.Config(ctx, o.AWS)
	if err != nil {
		return nil, err
	}
	s := &Sink{client: sqs.NewFromConfig(cfg), o: o}
	s.most.Store(maxMessage)
	s.shape.Store(&shape)
	return s, nil
}

// Shape returns the present limits of the destination. They change with the queue's.
func (s *Sink) Shape() shipper.Shape { return *s.shape.Load() }

// Send sends the batch in one SendMessageBatch request, without the events that SQS cannot carry.
func (s *Sink) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	ctx, cancel := awsclient.Within(ctx, s.o.AWS.Timeout)
	defer cancel()
	in := &sqs.SendMessageBatchInput{QueueUrl: &s.o.QueueURL}
	results := make([]*shipper.Error, len(batch))
	most, total := int(s.most.Load()), 0
	for i := range batch {
		e, size, err := s.entry(i, &batch[i], most)
		if err != nil {
			results[i] = err
			continue
		}
		in.Entries = append(in.Entries, e)
		total += size
	}
	switch {
	case len(in.Entries) == 0:
		return shipper.Response{Results: results, Code: "refused"}
	case total > max(most, leastBatch) && len(in.Entries) > 1:
		return shipper.Response{Err: &shipper.Error{Code: "BatchRequestTooLong", Text: strconv.Itoa(total) + " bytes", Record: -1, TooLarge: true}, Code: "refused"}
	}
	ctx, sent := awsclient.CountSent(ctx)
	response := s.send(ctx, in, batch, results)
	if response.Err == nil {
		response.Units = uint64((total + billedStep - 1) / billedStep)
	}
	awsclient.NoteSent(&response, sent)
	return response
}

func (s *Sink) send(ctx context.Context, in *sqs.SendMessageBatchInput, batch []shipper.Record, results []*shipper.Error) shipper.Response {
	out, err := s.client.SendMessageBatch(ctx, in)
	if err != nil {
		return failed(err, batch)
	}
	response := awsclient.ResponseOf(len(in.Entries), nil, resultsOf(in.Entries, out))
	if response.Err != nil {
		return response
	}
	faults := senderFaults(out)
	for i, e := range in.Entries {
		index, _ := strconv.Atoi(*e.Id)
		results[index] = classify(response.Results[i], faults[*e.Id])
	}
	response.Results = results
	return response
}

// resultsOf returns the results of the entries, in their order. An ID that occurs twice, or of no entry, makes their number
// another one.
func resultsOf(entries []types.SendMessageBatchRequestEntry, out *sqs.SendMessageBatchOutput) []awsclient.Result {
	byID := make(map[string]awsclient.Result, len(entries))
	for _, r := range out.Successful {
		byID[aws.ToString(r.Id)] = awsclient.Result{ID: r.MessageId}
	}
	for _, r := range out.Failed {
		byID[aws.ToString(r.Id)] = awsclient.Result{Code: r.Code, Text: r.Message}
	}
	results := make([]awsclient.Result, 0, len(entries))
	for _, e := range entries {
		if r, there := byID[*e.Id]; there {
			results = append(results, r)
		}
	}
	if len(out.Successful)+len(out.Failed) != len(results) {
		return make([]awsclient.Result, len(out.Successful)+len(out.Failed))
	}
	return results
}

// senderFaults returns the IDs of the entries that failed by the sender's fault.
func senderFaults(out *sqs.SendMessageBatchOutput) map[string]bool {
	faults := make(map[string]bool)
	for _, r := range out.Failed {
		faults[aws.ToString(r.Id)] = r.SenderFault
	}
	return faults
}

const (
	learnEvery   = 5 * time.Minute
	learnTimeout = 30 * time.Second
)

// Learn updates the limits from the MaximumMessageSize of the queue. A failure changes nothing: a producer may have the right to send only.
func (s *Sink) Learn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	name := types.QueueAttributeNameMaximumMessageSize
	out, err := s.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &s.o.QueueURL, AttributeNames: []types.QueueAttributeName{name},
	})
	if err != nil {
		return
	}
	most, err := strconv.Atoi(out.Attributes[string(name)])
	if err != nil || most < leastMessage || most > maxMessage || most == int(s.most.Load()) {
		return
	}
	shape := s.Shape()
	s.o.limit(&shape, most)
	s.most.Store(int64(most))
	s.shape.Store(&shape)
}

// Follow updates the limits every five minutes, until ctx ends.
func (s *Sink) Follow(ctx context.Context) {
	tick := time.NewTicker(learnEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.Learn(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// Close releases the connections.
func (s *Sink) Close() error {
	awsclient.Release(s.client.Options().HTTPClient)
	return nil
}
