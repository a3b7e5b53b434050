package shipper

import (
	"bytes"
	"crypto/md5"
	"slices"
	"sort"
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

// shards returns the sink's shards as far as they are known and matter, or nil.
func (s *Shipper) shards() *ShardMap {
	if sharded, ok := s.opts.Sink.(Sharded); ok {
		return sharded.Shards()
	}
	return nil
}

// strays are a batch's records that landed elsewhere than in the shard that they were made for: the stream
// was resharded meanwhile. A consumer's library drops the events of such a record whose keys do not belong
// to the shard where it reads it.
type strays struct {
	landed map[int]string // the shard where a record of several keys went, by the record's index
	by     *ShardMap      // where the keys' events belong; nil: nobody knows
}

// errAstray: the event was stored where no consumer looks for it. It is sent again at once, by the new map.
var errAstray = &Error{Class: Transient, Code: "resharded", Record: -1}

// strays finds the records that landed elsewhere.
func (o *outcome) findStrays() (st strays) {
	b := o.batch
	if b.shards == nil || o.reply.Err != nil || len(o.reply.Landed) != len(b.drafts) {
		return st
	}
	st.landed, st.by = make(map[int]string), o.reply.Shards
	for i, d := range b.drafts {
		made := b.shards.Shard(b.shards.Find(d.groups[0].key)).ID
		if id := o.reply.Landed[i]; len(d.groups) > 1 && id != "" && id != made {
			st.landed[i] = id
		}
	}
	return st
}

// hold tells whether the key's events in that record lie where no consumer looks for them. Those of the key
// that the record went out under never do.
func (st *strays) hold(record int, key, under string) bool {
	id, elsewhere := st.landed[record]
	if !elsewhere || key == under {
		return false
	}
	return st.by == nil || !st.by.Holds(id, key)
}
