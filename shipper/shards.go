package shipper

import "github.com/standpipe/standpipe/shipper/internal/pace"

// The types of shards and their quotas. Their methods are documented where they are declared.
type (
	// Quota is the load that a service takes in a second.
	Quota = pace.Quota
	// Shard is a range of hash keys with a quota of its own.
	Shard = pace.Shard
	// ShardMap maps partition keys to shards; nil where they are unknown.
	ShardMap = pace.ShardMap
	// HashKey is a point of Kinesis's hash-key space.
	HashKey = pace.HashKey
)

// NewShardMap returns the map of a stream's open shards, in any order, or nil where there are none. It keeps the ranges
// of closed ones to recognize records that lie there.
func NewShardMap(open []Shard, closed ...Shard) *ShardMap { return pace.NewShardMap(open, closed...) }

// HashOf returns the hash key of a partition key.
func HashOf(key string) HashKey { return pace.HashOf(key) }

// Sharded is a Sink whose service is made of shards.
type Sharded interface {
	// Shards returns the open shards as far as they are known, or nil. It returns at once.
	Shards() *ShardMap
}

// errAstray: the event was stored where no consumer looks for it. It is sent again at once, by the new map.
var errAstray = &Error{Class: Transient, Code: "resharded", Record: -1}

// markStrays marks the aggregated records that landed in a shard which does not hold all of their keys: the
// stream was resharded meanwhile, or ignores keys. markStrays returns the number of marked records.
func (o *outcome) markStrays(results []*Error) (strays int) {
	b := o.batch
	if b.Shape().Framing != FramingKPL || o.reply.Err != nil || len(o.reply.Landed) != b.Len() {
		return 0
	}
	for i := range results {
		if results[i] == nil && b.Misrouted(i, o.records[i].Data, o.reply.Landed[i], o.reply.Shards) {
			results[i] = errAstray
			strays++
		}
	}
	return strays
}
