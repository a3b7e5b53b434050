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

// checkTimeout bounds the question, so that a service that does not answer it holds up nobody long.
const checkTimeout = 5 * time.Second

// Description is what a data stream says of itself that matters to a shipper.
type Description struct {
	MaxRecord int  // bytes of data and key; 0 where the service doesn't say
	IgnoreKey bool // records are spread whatever their key: order is gone
}

// Describe asks the service about the stream.
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

// checkAgain is the time to the next question after one that nobody answered, and between two that are
// asked early because a record was refused for its length.
const checkAgain = 30 * time.Second

// streamCheck remembers what the stream last said. Its zero value never asks.
type streamCheck struct {
	every time.Duration

	mu      sync.Mutex  // held while the question is out: nothing is sent on an old answer
	next    time.Time   // the next question; guarded by mu
	doubted time.Time   // guarded by mu
	astray  time.Time   // when replies last looked as if the stream ignored keys; guarded by mu
	answer  Description // guarded by mu
}

// doubt makes the next Send query the stream first, or the first Send after checkAgain.
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

// distrust: records lie in shards that don't hold their keys, and the newest map does not explain it. Until the
// stream has answered whether it ignores keys, each event is a record of its own, which no consumer discards.
func (k *Sink) distrust() {
	c := &k.check
	c.mu.Lock()
	defer c.mu.Unlock()
	c.astray = time.Now()
	k.reshapeLocked(true)
	c.doubtLocked(c.astray)
}

// errIgnoresKeys refuses to ship where order would be lost.
var errIgnoresKeys = &shipper.Error{
	Class: shipper.Operator,
	Code:  "RecordDistributionStrategy",
	Text: "the stream's record distribution strategy is AUTO, which ignores partition keys: order would be lost; " +
		"set it to USER_PARTITION_KEY, or, if order does not matter, set order = \"none\" in the destination",
	Record: -1,
}

// errReframe sends back a batch whose records were aggregated before the stream said that it ignores keys.
var errReframe = &shipper.Error{
	Class:  shipper.Transient,
	Code:   "RecordDistributionStrategy",
	Text:   "the stream ignores partition keys, or looks like it: events go out one a record from now on",
	Record: -1,
}

// Learn asks the stream about itself when the last answer is old, as Send does. No answer is no error.
func (k *Sink) Learn(ctx context.Context) { k.ignoresKeys(ctx) }

// allowed returns why the batch can't be sent as it is.
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

// ignoresKeys tells whether the stream is known to ignore keys. It asks when the last answer is old.
// Producers often may put and not describe: no answer is no reason to stop.
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

// reshapeLocked updates the shape from the stream's description. If spread (the stream ignores keys), a consumer's
// library would drop aggregated records of keys that lie outside the shard that they came to, so each event is a
// record of its own; a consumer of aggregated records takes those as well.
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

// refusedForLength tells whether the service has refused the request or a record of it for its length:
// the stream's limit may have been lowered.
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
