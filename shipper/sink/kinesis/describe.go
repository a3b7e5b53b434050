package kinesis

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
)

// checkTimeout bounds one query of the stream's description or shards, so that a service that doesn't respond delays
// nothing for long.
const checkTimeout = 5 * time.Second

// Description is the part of a data stream's description that matters to a shipper.
type Description struct {
	MaxRecord int  // bytes of data and key; 0: the service reports none
	IgnoreKey bool // records are spread over the shards without regard to their keys, so order is lost
}

// Describe queries the stream's description.
func (k *Sink) Describe(ctx context.Context) (Description, *shipper.Error) {
	in := &kinesis.DescribeStreamSummaryInput{}
	in.StreamName, in.StreamARN = k.named()
	out, err := k.client.DescribeStreamSummary(ctx, in)
	if err != nil {
		e, _ := awsclient.Classify(err, nil)
		return Description{}, e
	}
	s := out.StreamDescriptionSummary
	if s == nil {
		return Description{}, &shipper.Error{Code: failure.CodeBadResponse, Text: "no description", Record: -1}
	}
	return Description{
		MaxRecord: int(aws.ToInt32(s.MaxRecordSizeInKiB)) << 10,
		IgnoreKey: s.RecordDistributionStrategy == types.RecordDistributionStrategyAuto,
	}, nil
}

// checkAgain bounds the time to the next query of the stream after a failed one, unless the failure needs an operator.
// It is also the shortest time between two early queries (see doubt).
const checkAgain = 30 * time.Second

// streamCheck caches the stream's last description. Its zero value never queries the stream.
type streamCheck struct {
	every time.Duration

	mu      sync.Mutex  // held during a query: nothing is sent on an outdated description
	next    time.Time   // of the next query; guarded by mu
	doubted time.Time   // guarded by mu
	astray  time.Time   // when responses last looked as if the stream ignored keys; guarded by mu
	answer  Description // guarded by mu
}

// doubt makes the next Send query the stream first. If the last such query is less than checkAgain ago, the first Send
// after that time does it.
func (c *streamCheck) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doubtLocked(time.Now())
}

func (c *streamCheck) doubtLocked(now time.Time) {
	if again := c.doubted.Add(checkAgain); now.Before(again) {
		c.next = earlier(c.next, again)
		return
	}
	c.doubted, c.next = now, now
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// distrust handles records that lie in shards that don't hold their keys although the newest map doesn't explain it.
// Until a query has shown whether the stream ignores keys, each event is a record of its own, which no consumer
// discards.
func (k *Sink) distrust() {
	c := &k.check
	c.mu.Lock()
	defer c.mu.Unlock()
	c.astray = time.Now()
	k.reshapeLocked(true)
	c.doubtLocked(c.astray)
}

// errIgnoresKeys rejects batches whose order would be lost.
var errIgnoresKeys = &shipper.Error{
	Class: shipper.Operator,
	Code:  "RecordDistributionStrategy",
	Text: "the stream's record distribution strategy is AUTO, which ignores partition keys: order would be lost; " +
		"set it to USER_PARTITION_KEY, or, if order does not matter, set order = \"none\" in the destination",
	Record: -1,
}

// errReframe returns a batch whose records were aggregated before the stream was found to ignore keys.
var errReframe = &shipper.Error{
	Class:  shipper.Transient,
	Code:   "RecordDistributionStrategy",
	Text:   "the stream ignores partition keys, or looks like it: events go out one a record from now on",
	Record: -1,
}

// Learn queries the stream's description if the last one is outdated, as Send does. A failed query is no error.
func (k *Sink) Learn(ctx context.Context) { k.ignoresKeys(ctx) }

// allowed returns the reason why the batch can't be sent as it is, or nil.
func (k *Sink) allowed(ctx context.Context, batch []shipper.Record) *shipper.Error {
	if k.ignoresKeys(ctx) && k.order != sink.OrderNone {
		return errIgnoresKeys
	}
	if k.shards.spread.Load() && k.first.Framing == shipper.FramingKPL && slices.ContainsFunc(batch, aggregated) {
		return errReframe
	}
	return nil
}

func aggregated(r shipper.Record) bool { return r.Events > 1 }

// ignoresKeys reports whether the stream is known to ignore keys. It queries the stream if the last description is
// outdated. A failed query does not stop the destination: producers often have the right to put records but not to
// describe the stream.
func (k *Sink) ignoresKeys(ctx context.Context) bool {
	c := &k.check
	if c.every <= 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !time.Now().Before(c.next) {
		k.askLocked(ctx)
	}
	return c.answer.IgnoreKey
}

func (k *Sink) askLocked(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	d, err := k.Describe(ctx)
	wait := k.check.every
	if err != nil && err.Class != shipper.Operator {
		wait = min(wait, checkAgain)
	}
	now := time.Now()
	k.check.next = now.Add(wait)
	if err == nil {
		k.check.answer = d
	}
	if err == nil || now.Sub(k.check.astray) >= k.check.every {
		k.reshapeLocked(k.check.answer.IgnoreKey)
	}
}

// reshapeLocked updates the shape from the stream's description. spread means that the stream ignores keys. A
// consumer's library would then drop aggregated records whose keys lie outside the shard that stores them, so each
// event is a record of its own. A consumer of aggregated records takes those as well.
func (k *Sink) reshapeLocked(spread bool) {
	d, shape := k.check.answer, k.first
	if d.MaxRecord > 0 {
		limitRecords(&shape, d.MaxRecord, k.aim)
	}
	if spread && shape.Framing == shipper.FramingKPL {
		shape.Framing, shape.RecordEvents = shipper.FramingNone, 1
	}
	k.shards.spread.Store(spread)
	k.shape.Store(&shape)
}

// refusedForLength reports whether the service has rejected the request or one of its records for its length: the
// stream's limit may have been lowered.
func refusedForLength(reply shipper.Response) bool {
	return aboutLength(reply.Err) || slices.ContainsFunc(reply.Results, aboutLength)
}

func aboutLength(e *shipper.Error) bool {
	if e == nil || e.Class != shipper.Poison {
		return false
	}
	text := strings.ToLower(e.Code + " " + e.Text)
	return strings.Contains(text, "length") || strings.Contains(text, "size") || strings.Contains(text, "toolarge")
}
