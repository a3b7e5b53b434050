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

// defaultShardsAgain is the shortest time between two listings of the shards. The service allows 1,000 listings of a
// stream a second, for all callers together.
const defaultShardsAgain = 10 * time.Second

// shardMap caches the last listing of the stream's shards.
type shardMap struct {
	now   atomic.Pointer[shipper.ShardMap]
	again time.Duration // the shortest time between two listings
	doubt chan struct{} // of capacity 1; a value makes Follow list the shards early
	// spread is set when the stream ignores keys, or its responses look like it: then no key has a shard.
	spread atomic.Bool
}

// Shards returns the open shards that the last listing found, or nil if they are unknown or the stream ignores keys.
func (k *Sink) Shards() *shipper.ShardMap {
	if k.shards.spread.Load() {
		return nil
	}
	return k.shards.now.Load()
}

// Follow keeps the shard map up to date until ctx ends. It lists the shards every CheckKeys, and earlier when the
// stream throttles or when Send could not list them itself. A destination without the right to list shards works
// without the map.
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

// pause waits for d, the end of ctx, or a value of sooner.
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

// ListShards queries the shards. The filter AT_LATEST returns the open ones; FROM_TRIM_HORIZON returns also those that
// were closed within the stream's retention.
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
		in = &kinesis.ListShardsInput{NextToken: out.NextToken} // the token stands for the other parameters
	}
}

// readShard reads a shard. A shard whose sequence numbers have an end is closed and takes no more records.
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

// landed checks in which shards the records were stored. If they differ from the shards of the map, landed fetches the
// map at once, and the response carries both, so that the shipper finds the records that no consumer will see. If a
// fresh map does not explain the shards either, the stream may ignore keys.
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

// relearn fetches the shards at once, including recently closed ones. If that fails, it removes the map, because an
// outdated map would lead the next records to wrong shards too.
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

// moved reports whether a record was stored in another shard than the one in the map.
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
