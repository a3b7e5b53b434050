package sink

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
)

// defaultShardsAgain is the least time between two questions for the shards. The service allows 1,000 a second
// of a stream to all who ask.
const defaultShardsAgain = 10 * time.Second

// shardMap is what the stream last said of its shards.
type shardMap struct {
	now   atomic.Pointer[shipper.ShardMap]
	again time.Duration // the least between two questions
	doubt chan struct{} // holds one: the map is to be asked for early
	// spread: the stream ignores keys, so that no key has a shard.
	spread atomic.Bool
}

// Shards returns the open shards as Follow has found them.
func (k *Kinesis) Shards() *shipper.ShardMap {
	if k.shards.spread.Load() {
		return nil
	}
	return k.shards.now.Load()
}

// Follow keeps the shard map up to date until ctx ends: it asks now and then, and early when the stream
// throttles or has put a record elsewhere than the map says. Who may put and not list goes on without.
func (k *Kinesis) Follow(ctx context.Context) {
	if k.check.every <= 0 {
		return
	}
	for ctx.Err() == nil {
		wait := k.check.every
		if m, err := k.ListShards(ctx); err == nil {
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

// ListShards asks the service for the open shards.
func (k *Kinesis) ListShards(ctx context.Context) (*shipper.ShardMap, *shipper.Error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	in := &kinesis.ListShardsInput{ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}}
	in.StreamName, in.StreamARN = k.named()
	var open []shipper.Shard
	for {
		out, err := k.client.ListShards(ctx, in)
		if err != nil {
			e, _ := classify(err, nil)
			return nil, e
		}
		for _, s := range out.Shards {
			shard, ok, err := openShard(s)
			if err != nil {
				return nil, &shipper.Error{Code: codeBadReply, Text: err.Error(), Record: -1}
			}
			if ok {
				open = append(open, shard)
			}
		}
		if aws.ToString(out.NextToken) == "" {
			return shipper.NewShardMap(open), nil
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken} // which stands for the rest
	}
}

// openShard reads a shard; one that has an end takes nothing any more. Stand-ins list those too.
func openShard(s types.Shard) (shard shipper.Shard, open bool, err error) {
	if s.SequenceNumberRange != nil && aws.ToString(s.SequenceNumberRange.EndingSequenceNumber) != "" {
		return shard, false, nil
	}
	shard.ID = aws.ToString(s.ShardId)
	if s.HashKeyRange == nil {
		return shard, false, fmt.Errorf("shard %q has no range", shard.ID)
	}
	text := aws.ToString(s.HashKeyRange.StartingHashKey)
	first, ok := new(big.Int).SetString(text, 10)
	if !ok || first.Sign() < 0 || first.BitLen() > 8*len(shard.First) {
		return shard, false, fmt.Errorf("shard %q begins at %q, which is no hash key", shard.ID, text)
	}
	first.FillBytes(shard.First[:])
	return shard, true, nil
}

// landed looks where the records went. What doesn't fit the map makes Follow ask early; records by shard
// can't wait for that.
func (k *Kinesis) landed(ctx context.Context, batch []shipper.Record, shards []*string, reply *shipper.Reply) {
	byShard := k.Shape().ByShard
	if byShard {
		reply.Landed = make([]string, len(shards))
		for i, id := range shards {
			reply.Landed[i] = aws.ToString(id)
		}
	}
	switch known := k.shards.now.Load(); {
	case known == nil:
	case byShard && moved(known, batch, shards):
		reply.Shards = k.relearn(ctx)
	case moved(known, batch, shards):
		k.shards.ask()
	}
	if slices.ContainsFunc(reply.Results, throttled) {
		k.shards.ask()
	}
}

// relearn asks for the shards at once. Without an answer there is no map: one that is known to be wrong
// would lead the next records astray too.
func (k *Kinesis) relearn(ctx context.Context) *shipper.ShardMap {
	m, err := k.ListShards(ctx)
	if err != nil {
		m = nil
	}
	k.shards.now.Store(m)
	k.shards.ask()
	return m
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
