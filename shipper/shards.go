package shipper

import (
	"bytes"
	"crypto/md5"
	"slices"
	"sort"

	"github.com/standpipe/standpipe/shipper/kpl"
)

// HashKey is a point of Kinesis's hash-key space, big-endian.
type HashKey [16]byte

// HashOf returns where a partition key lies: its MD5 (Kinesis Data Streams API Reference,
// PutRecordsRequestEntry, November 2026).
func HashOf(key string) HashKey { return md5.Sum([]byte(key)) }

// Shard is a range of hash keys that is served on its own, with a quota of its own.
type Shard struct {
	ID    string
	First HashKey // the range's lowest key; an open one's ends where the next one's begins
	Last  HashKey // the range's highest key, where the shard is closed
}

// ShardMap says which shard a key goes to. It never changes: a resharded stream has a new one.
type ShardMap struct {
	shards []Shard // ascending by First, at least one
	closed []Shard
}

// NewShardMap returns the map of a stream's open shards, in any order, or nil where there are none.
// What lies below the first shard's range is taken for its own. Of closed ones it remembers the ranges.
func NewShardMap(open []Shard, closed ...Shard) *ShardMap {
	if len(open) == 0 {
		return nil
	}
	m := &ShardMap{shards: slices.Clone(open), closed: closed}
	slices.SortFunc(m.shards, func(a, b Shard) int { return bytes.Compare(a.First[:], b.First[:]) })
	return m
}

// Len returns how many shards there are.
func (m *ShardMap) Len() int { return len(m.shards) }

// Shard returns shard i, ascending by hash key from 0.
func (m *ShardMap) Shard(i int) Shard { return m.shards[i] }

// Find returns the index of the shard that a key goes to.
func (m *ShardMap) Find(key string) int {
	h := HashOf(key)
	above := sort.Search(len(m.shards), func(i int) bool { return bytes.Compare(m.shards[i].First[:], h[:]) > 0 })
	return max(above-1, 0)
}

// Holds tells whether the key lies in the range of the shard with that ID, open or closed.
func (m *ShardMap) Holds(id, key string) bool {
	if m.Shard(m.Find(key)).ID == id {
		return true
	}
	h := HashOf(key)
	return slices.ContainsFunc(m.closed, func(s Shard) bool {
		return s.ID == id && bytes.Compare(s.First[:], h[:]) <= 0 && bytes.Compare(h[:], s.Last[:]) <= 0
	})
}

// Sharded is a Sink whose service is made of shards.
type Sharded interface {
	// Shards returns the open shards as far as they are known, or nil. It returns at once.
	Shards() *ShardMap
}

// shards returns the sink's shards as far as they are known, or nil.
func (s *Shipper) shards() *ShardMap {
	if sharded, ok := s.opts.Sink.(Sharded); ok {
		return sharded.Shards()
	}
	return nil
}

// errAstray: the event was stored where no consumer looks for it. It is sent again at once, by the new map.
var errAstray = &Error{Class: Transient, Code: "resharded", Record: -1}

// markStrays marks the aggregated records that landed in a shard which does not hold all of their keys: the
// stream was resharded meanwhile, or ignores keys. Amazon's consumer library (AggregatorUtil.deaggregate of
// the KCL 3.5.1) discards such a record whole, also the events whose keys do belong to the shard. markStrays returns
// the number of marked records.
func (o *outcome) markStrays(results []*Error) (strays int) {
	b := o.batch
	if b.shape.Framing != FramingKPL || o.reply.Err != nil || len(o.reply.Landed) != len(b.drafts) {
		return 0
	}
	for i, d := range b.drafts {
		aggregated := bytes.HasPrefix(o.records[i].Data, []byte(kpl.Magic))
		if id := o.reply.Landed[i]; results[i] == nil && aggregated && id != "" && b.astray(d, id, o.reply.Shards) {
			results[i] = errAstray
			strays++
		}
	}
	return strays
}

// astray reports whether a consumer discards the record of d when it lies in the shard with that ID. by is the
// newest map. Without one, a record of several keys is valid only in the shard that it was made for; one of a
// single key always lies in its key's shard, however the stream was resharded.
func (b *batch) astray(d *draft, id string, by *ShardMap) bool {
	switch {
	case b.shards != nil && b.shards.Shard(b.shards.Find(d.groups[0].key)).ID == id:
		return false
	case by == nil:
		return len(d.groups) > 1
	}
	return slices.ContainsFunc(d.groups, func(g *group) bool { return !by.Holds(id, g.key) })
}
