//go:build unix

package e2e_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/testkit"
)

// openShards returns a stream's open shards in the order of their hash keys.
func (k *kinesalite) openShards(stream string) []types.Shard {
	k.t.Helper()
	out, err := k.client().ListShards(k.t.Context(), &kinesis.ListShardsInput{StreamName: &stream})
	if err != nil {
		k.t.Fatal(err)
	}
	open := slices.DeleteFunc(out.Shards, func(s types.Shard) bool { return s.SequenceNumberRange.EndingSequenceNumber != nil })
	slices.SortFunc(open, func(a, b types.Shard) int { return first(a.HashKeyRange).Cmp(first(b.HashKeyRange)) })
	return open
}

// split halves a stream's first open shard.
func (k *kinesalite) split(stream string) {
	k.t.Helper()
	k.splitShard(stream, k.openShards(stream)[0])
}

func (k *kinesalite) splitShard(stream string, s types.Shard) {
	k.t.Helper()
	_, err := k.client().SplitShard(k.t.Context(), &kinesis.SplitShardInput{
		StreamName: &stream, ShardToSplit: s.ShardId, NewStartingHashKey: aws.String(middle(s.HashKeyRange)),
	})
	if err != nil {
		k.t.Fatal(err)
	}
	k.waitActive(stream)
}

// middle returns the hash key in the middle of a range.
func middle(r *types.HashKeyRange) string {
	low, _ := new(big.Int).SetString(*r.StartingHashKey, 10)
	high, _ := new(big.Int).SetString(*r.EndingHashKey, 10)
	return low.Add(low, high).Rsh(low, 1).String()
}

func first(r *types.HashKeyRange) *big.Int {
	n, _ := new(big.Int).SetString(*r.StartingHashKey, 10)
	return n
}

// merge makes one of a stream's open shard i and the one above it.
func (k *kinesalite) merge(stream string, i int) {
	k.t.Helper()
	open := k.openShards(stream)
	_, err := k.client().MergeShards(k.t.Context(), &kinesis.MergeShardsInput{
		StreamName: &stream, ShardToMerge: open[i].ShardId, AdjacentShardToMerge: open[i+1].ShardId,
	})
	if err != nil {
		k.t.Fatal(err)
	}
	k.waitActive(stream)
}

// devices generates n events of many keys.
func devices(seed uint64, n, keys int) []event {
	r := rand.New(rand.NewPCG(seed, 25))
	counts := make(map[string]int)
	events := make([]event, n)
	for i := range events {
		key := fmt.Sprintf("device-%d", r.IntN(keys))
		counts[key]++
		events[i] = event{key, fmt.Sprintf(`{"sensor":%q,"n":%d}`, key, counts[key])}
	}
	return events
}

// Shards split and merge at any moment while events flow: keys move to other shards, and consumers that
// discard events outside the range of the shard that they read still see every event once, in its key's order.
// Consumers that look at no range see some twice, by shard alone.
func TestShards_SplitAndMergeWhileShipping(t *testing.T) {
	endToEnd(t)
	for _, by := range []struct {
		name, set string
		events    int
	}{
		{"key", `aggregate_by = "key"`, 10_000},
		{"shard", `aggregate_by = "shard"`, 10_000},
		{"strict", `order = "strict"`, 3000},
	} {
		t.Run("by "+by.name, func(t *testing.T) {
			t.Parallel()
			seed := draw.Seed(t)
			r := rand.New(rand.NewPCG(seed, 26))
			k := startKinesalite(t)
			k.create("moving", 2)
			block := strings.Replace(kinesisDestination(k.endpoint()), "aggregate", by.set+"\n    aggregate", 1)
			a := startAgent(t, "", streamBlock("moving", block))
			sent := devices(seed, by.events, 500)
			client := a.dial()
			for i, part := range batches(sent, len(sent)/10) {
				send(t, client, "moving", part[:len(part)/2])
				if open := k.openShards("moving"); i%2 == 1 && len(open) > 1 {
					k.merge("moving", r.IntN(len(open)-1))
				} else {
					k.splitShard("moving", open[r.IntN(len(open))])
				}
				send(t, client, "moving", part[len(part)/2:])
			}
			a.waitDelivered("moving", len(sent), time.Minute)
			a.stop()
			got := k.consume("moving")
			t.Logf("%v in %d records, %d astray, seed %d", owing(sent).expectWhole(t, "with a check of ranges", got.checked, 0), got.records, len(got.astray), seed)
			owing(sent).expectWhole(t, "without a check of ranges", got.events, len(got.astray))
			if (len(got.astray) > 0) != (by.name == "shard") {
				t.Errorf("got %d events where consumers discard them, want some by shard, none otherwise", len(got.astray))
			}
			if kcl, err := k.consumeKCL("moving"); err != nil {
				testkit.NotTested(t, "Amazon's consumer library", err)
			} else {
				owing(sent).expectWhole(t, "Amazon's consumer library", kcl, 0)
			}
		})
	}
}
