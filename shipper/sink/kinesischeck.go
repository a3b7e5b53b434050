package sink

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/standpipe/standpipe/shipper"
)

// checkTimeout bounds the question, so that a service that does not answer it holds up nobody long.
const checkTimeout = 5 * time.Second

// Description is what a data stream says of itself that matters to a shipper.
type Description struct {
	MaxRecord int  // bytes of data and key; 0 where the service doesn't say
	IgnoreKey bool // records are spread whatever their key: order is gone
}

// Describe asks the service about the stream.
func (k *Kinesis) Describe(ctx context.Context) (Description, *shipper.Error) {
	in := &kinesis.DescribeStreamSummaryInput{}
	if strings.HasPrefix(k.stream, "arn:") {
		in.StreamARN = aws.String(k.stream)
	} else {
		in.StreamName = aws.String(k.stream)
	}
	out, err := k.client.DescribeStreamSummary(ctx, in)
	if err != nil {
		e, _ := classify(err, nil)
		return Description{}, e
	}
	s := out.StreamDescriptionSummary
	if s == nil {
		return Description{}, &shipper.Error{Code: codeBadReply, Text: "no description", Record: -1}
	}
	return Description{
		MaxRecord: int(aws.ToInt32(s.MaxRecordSizeInKiB)) << 10,
		IgnoreKey: s.RecordDistributionStrategy == types.RecordDistributionStrategyAuto,
	}, nil
}

// keyCheck remembers whether the stream ignores keys. Its zero value never asks.
type keyCheck struct {
	every time.Duration

	mu      sync.Mutex
	last    time.Time      // guarded by mu
	verdict *shipper.Error // guarded by mu
}

// errIgnoresKeys refuses to ship where order would be lost.
var errIgnoresKeys = &shipper.Error{
	Class:  shipper.Operator,
	Code:   "RecordDistributionStrategy",
	Text:   "the stream's record distribution strategy is AUTO, which ignores partition keys: order would be lost",
	Record: -1,
}

// allowed returns an error while the stream is known to ignore keys. It asks when the last answer
// is old. Producers often may put and not describe: no answer is no reason to stop.
func (c *keyCheck) allowed(ctx context.Context, describe func(context.Context) (Description, *shipper.Error)) *shipper.Error {
	if c.every <= 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.last.IsZero() && time.Since(c.last) < c.every {
		return c.verdict
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	d, err := describe(ctx)
	c.last = time.Now()
	switch {
	case err == nil && d.IgnoreKey:
		c.verdict = errIgnoresKeys
	case err == nil:
		c.verdict = nil
	}
	return c.verdict
}
