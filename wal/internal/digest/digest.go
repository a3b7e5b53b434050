package digest

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Bucket is the part of a segment that an entry belongs to.
type Bucket byte

const (
	Meta   Bucket = 'm'
	State  Bucket = 's'
	Blocks Bucket = 'b' // an entry's value is the header of the block
	Notes  Bucket = 'n' // of the blocks that have notes of producers
)

// Totals are the digest of a set of entries. Equal sets have equal totals.
type Totals struct {
	Entries uint64
	Sums    [2]uint64
}

// Sum is the digest of entries of one segment.
type Sum struct {
	Totals
	segment uint64
}

// New returns the digest of no entry of the segment.
func New(segment uint64) Sum { return Sum{segment: segment} }

// Add adds an entry.
func (s *Sum) Add(b Bucket, key, value []byte) {
	s.Entries++
	for i := range s.Sums {
		s.Sums[i] += s.hash(i, b, key, value)
	}
}

// Remove removes an entry that was added.
func (s *Sum) Remove(b Bucket, key, value []byte) {
	s.Entries--
	for i := range s.Sums {
		s.Sums[i] -= s.hash(i, b, key, value)
	}
}

// hash is XXH64 of the bucket, the length of the key, the key and the value. The seed is twice the segment's number, plus
// i.
func (s *Sum) hash(i int, b Bucket, key, value []byte) uint64 {
	var d xxhash.Digest
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], uint64(b)<<56|uint64(len(key)))
	d.ResetWithSeed(s.segment<<1 | uint64(i))
	d.Write(head[:]) // never fails
	d.Write(key)
	d.Write(value)
	return d.Sum64()
}

// Plus returns the digest of the entries of both.
func (t Totals) Plus(o Totals) Totals {
	t.Entries += o.Entries
	for i := range t.Sums {
		t.Sums[i] += o.Sums[i]
	}
	return t
}

// Minus returns the digest of the entries that are not in o, if all of o's entries are in t.
func (t Totals) Minus(o Totals) Totals {
	t.Entries -= o.Entries
	for i := range t.Sums {
		t.Sums[i] -= o.Sums[i]
	}
	return t
}

// Record is a digest as it is stored in the segment.
type Record struct {
	Tx uint64 // bbolt's number of the transaction that stored it
	Totals
}

const recordLength = 4 * 8

// Append encodes the record: four numbers of 8 bytes.
func (r *Record) Append(b []byte) []byte {
	for _, n := range []uint64{r.Tx, r.Entries, r.Sums[0], r.Sums[1]} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// Decode decodes the result of Append. It reports false for bytes of another length.
func (r *Record) Decode(b []byte) bool {
	if len(b) != recordLength {
		return false
	}
	for i, n := range []*uint64{&r.Tx, &r.Entries, &r.Sums[0], &r.Sums[1]} {
		*n = binary.BigEndian.Uint64(b[8*i:])
	}
	return true
}
