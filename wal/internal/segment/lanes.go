package segment

import (
	"crypto/md5"
	"math/bits"
)

// Lanes is the number of lanes: equal slices of Kinesis's 128-bit hash-key space.
const Lanes = 64

// LaneOf returns the lane of a partition key: the top 6 bits of its MD5, which Kinesis reads as
// a big-endian 128-bit number to choose the shard (Kinesis Data Streams API Reference,
// PutRecordsRequestEntry, November 2026).
func LaneOf(key string) uint8 {
	sum := md5.Sum([]byte(key))
	return sum[0] >> 2
}

// LaneSet is a set of lanes, one bit each.
type LaneSet uint64

// AllLanes holds every lane.
const AllLanes = ^LaneSet(0)

// Has reports whether lane is in s.
func (s LaneSet) Has(lane uint8) bool { return s>>lane&1 == 1 }

// With returns s with lane added.
func (s LaneSet) With(lane uint8) LaneSet { return s | 1<<lane }

// Len returns the number of lanes in s.
func (s LaneSet) Len() int { return bits.OnesCount64(uint64(s)) }
