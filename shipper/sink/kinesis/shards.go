package kinesis

import (
	"cmp"
	"context"
	"fmt"
	"math/big"
	"slices"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
)

// defaultShardsAgain is the least time between two questions for the shards. The service allows 1,000 a second
// of a stream to all who ask.
const defaultShardsAgain = 10 * time.Second

// shardMap is what the stream last said of its shards.
type shardMap struct {
	now   atomic.Pointer[shipper.ShardMap]
	again time.Duration // the least between two questions
	doubt chan struct{} // holds one: the map is to be asked for early
	// spread: the stream ignores keys, or its replies look like it, so that no key has a shard.
	spread atomic.Bool
}

// Shards returns the open shards as Follow has found them.
func (k *Sink) Shards() *shipper.ShardMap {
	if k.shards.spread.Load() {
		return nil
	}
	return k.shards.now.Load()
}

// Follow keeps the shard map up to date until ctx ends: it asks now and then, and early when the stream
// throttles or has put a record elsewhere than the map says. Who may put and not list goes on without.
func (k *Sink) Follow(ctx context.Context) {
	if k.check.every <= 0 {
		return
	}
	for ctx.Err() == nil {
		wait := k.check.every
		if m, err := k.ListShards(ctx, types.ShardFilterTypeAtLatest); err == nil {
			k.shards.now.Store(m)
		} else if err.Class != shipper.Operator {
			wait = min(wait, checkAgain)
		}
		again := cmp.Or(k.shards.again, defaultShardsAgain)
		pause(ctx, min(again, wait), nil)
		pause(ctx, wait-again, k.shards.doubt)
	}
}

// pause waits for d, ctx's end or sooner.
func pause(ctx context.Context, d time.Duration, sooner <-chan struct{}) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-sooner:
	case <-ctx.Done():
	}
}

// ListShards asks the service for the shards: AT_LATEST for the open ones, FROM_TRIM_HORIZON for
// those as well that have been closed within the stream's retention.
func (k *Sink) ListShards(ctx context.Context, filter types.ShardFilterType) (*shipper.ShardMap, *shipper.Error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	in := &kinesis.ListShardsInput{ShardFilter: &types.ShardFilter{Type: filter}}
	in.StreamName, in.StreamARN = k.named()
	var open, closed []shipper.Shard
	for {
		out, err := k.client.ListShards(ctx, in)
		if err != nil {
			e, _ := awsclient.Classify(err, nil)
			return nil, e
		}
		for _, s := range out.Shards {
			shard, ended, err := readShard(s)
			if err != nil {
				return nil, &shipper.Error{Code: failure.CodeBadResponse, Text: err.Error(), Record: -1}
			}
			if ended {
				closed = append(closed, shard)
			} else {
				open = append(open, shard)
			}
		}
		if aws.ToString(out.NextToken) == "" {
			return shipper.NewShardMap(open, closed...), nil
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken} // which stands for the rest
	}
}

// readShard reads a shard; one that has an end is closed and takes nothing any more.
func readShard(s types.Shard) (shard shipper.Shard, closed bool, err error) {
	shard.ID = aws.ToString(s.ShardId)
	if s.HashKeyRange == nil {
		return shard, false, fmt.Errorf("shard %q has no range", shard.ID)
	}
	if shard.First, err = hashKey(s.HashKeyRange.StartingHashKey); err == nil {
		shard.Last, err = hashKey(s.HashKeyRange.EndingHashKey)
	}
	if err != nil {
		return shard, false, fmt.Errorf("shard %q: %w", shard.ID, err)
	}
	return shard, s.SequenceNumberRange != nil && aws.ToString(s.SequenceNumberRange.EndingSequenceNumber) != "", nil
}

func hashKey(text *string) (h shipper.HashKey, err error) {
	n, ok := new(big.Int).SetString(aws.ToString(text), 10)
	if !ok || n.Sign() < 0 || n.BitLen() > 8*len(h) {
		return h, fmt.Errorf("%q is no hash key", aws.ToString(text))
	}
	n.FillBytes(h[:])
	return h, nil
}

// landed checks which shards the records went to. Where they differ from the map's, landed fetches the map
// at once, and the response names both: with them the shipper finds the records that no consumer will see. If a fresh
// map does not explain the shards either, the stream may ignore keys.
func (k *Sink) landed(ctx context.Context, batch []shipper.Record, shards []*string, reply *shipper.Response) {
	if slices.ContainsFunc(reply.Results, throttled) {
		k.shards.ask()
	}
	known := k.shards.now.Load()
	astray := known != nil && moved(known, batch, shards)
	if astray && !k.shards.spread.Load() {
		if known = k.relearn(ctx); known != nil && !explains(known, batch, shards) {
			k.distrust()
		}
	}
	if !astray && !k.Shape().ByShard {
		return
	}
	reply.Landed, reply.Shards = make([]string, len(shards)), known
	for i, id := range shards {
		reply.Landed[i] = aws.ToString(id)
	}
}

// relearn fetches the shards at once, including recently closed ones. Without a response there is
// no map: one that is known to be wrong would lead the next records astray too.
func (k *Sink) relearn(ctx context.Context) *shipper.ShardMap {
	m, err := k.ListShards(ctx, types.ShardFilterTypeFromTrimHorizon)
	if err != nil {
		m = nil
		k.shards.ask()
	}
	k.shards.now.Store(m)
	return m
}

// explains reports whether each record is in a shard that holds its key, or held it until a reshard.
func explains(m *shipper.ShardMap, batch []shipper.Record, shards []*string) bool {
	for i, id := range shards {
		if aws.ToString(id) != "" && !m.Holds(*id, batch[i].Key) {
			return false
		}
	}
	return true
}

// moved tells whether a record was put elsewhere than the map says.
func moved(known *shipper.ShardMap, batch []shipper.Record, shards []*string) bool {
	for i, id := range shards {
		if aws.ToString(id) != "" && known.Shard(known.Find(batch[i].Key)).ID != *id {
			return true
		}
	}
	return false
}

func throttled(e *shipper.Error) bool { return e != nil && e.Class == shipper.Throttled }

func (m *shardMap) ask() {
	select {
	case m.doubt <- struct{}{}:
	default:
	}
}
