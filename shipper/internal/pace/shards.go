package pace

import (
	"bytes"
	"crypto/md5"
	"slices"
	"sort"
)

// HashKey is a point of Kinesis's hash-key space, big-endian.
type HashKey [16]byte

// HashOf returns the hash key of a partition key: its MD5 (Kinesis Data Streams API Reference,
// PutRecordsRequestEntry, November 2026).
func HashOf(key string) HashKey { return md5.Sum([]byte(key)) }

// Shard is a range of hash keys with a quota of its own.
type Shard struct {
	ID    string
	First HashKey // the range's lowest key; an open shard's range ends where the next one's begins
	Last  HashKey // the range's highest key, where the shard is closed
}

// ShardMap maps partition keys to shards. It is immutable: a resharded stream has a new one.
type ShardMap struct {
	shards []Shard // ascending by First, at least one
	closed []Shard
}

// NewShardMap returns the map of a stream's open shards, in any order, or nil where there are none. Hash keys below the
// first shard's range count as its own. The ranges of closed shards are kept for Holds.
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

// Holds reports whether the key lies in the range of the shard with that ID, open or closed.
func (m *ShardMap) Holds(id, key string) bool {
	if m.Shard(m.Find(key)).ID == id {
		return true
	}
	h := HashOf(key)
	return slices.ContainsFunc(m.closed, func(s Shard) bool {
		return s.ID == id && bytes.Compare(s.First[:], h[:]) <= 0 && bytes.Compare(h[:], s.Last[:]) <= 0
	})
}
