package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"
)

// In a segment the index has an entry for each part: the stream's name with its length before it and
// the part's first offset, and under that
//
//	version, CRC-32C, next, before, after, number, last, blocks
const (
	indexVersion = 1
	indexSumAt   = 1
	indexSumOf   = indexSumAt + 4
	indexHeader  = indexSumOf + 5*8

	// partOverhead is what a part takes beside its blocks and its stream's name.
	partOverhead = 2 + 8 + indexHeader + stateElement
)

var errIndex = errors.New("a part of the index is malformed")

func partPrefix(stream string) string { return string(appendText(nil, stream)) }

func partKey(stream string, first uint64) []byte {
	return binary.BigEndian.AppendUint64(appendText(nil, stream), first)
}

// appendValue encodes the part, which stands in the segment seq under key.
func (p *indexPart) appendValue(b []byte, seq uint64, key []byte) []byte {
	b = append(b, indexVersion, 0, 0, 0, 0)
	for _, n := range []uint64{p.next, p.before, p.after, p.number, p.last} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, p.blocks...)
	binary.BigEndian.PutUint32(b[indexSumAt:], indexSum(seq, key, b))
	return b
}

func indexSum(seq uint64, key, value []byte) uint32 {
	sum := crc32.Checksum(numberKey(seq), castagnoli)
	sum = crc32.Update(sum, castagnoli, key)
	return crc32.Update(sum, castagnoli, value[indexSumOf:])
}

// decodePart reads what appendValue wrote. The part's blocks lie in value.
func decodePart(seq uint64, key, value []byte) (stream string, p indexPart, err error) {
	d := decoder{b: key}
	stream = string(d.text())
	if d.bad || len(d.b) != 8 || len(value) < indexHeader ||
		binary.BigEndian.Uint32(value[indexSumAt:]) != indexSum(seq, key, value) {
		return stream, p, errIndex
	}
	if err := laterVersion("index", uint64(value[0]), indexVersion); err != nil {
		return stream, p, err
	}
	if value[0] != indexVersion {
		return stream, p, errIndex
	}
	p.first = binary.BigEndian.Uint64(d.b)
	for i, n := range []*uint64{&p.next, &p.before, &p.after, &p.number, &p.last} {
		*n = binary.BigEndian.Uint64(value[indexSumOf+8*i:])
	}
	p.blocks = value[indexHeader:]
	end := blockPlace{Run: Run{Next: p.first}}
	for at := range p.places(0) {
		if at.First < end.Next || at.Next <= at.First || at.number < end.number {
			return stream, p, errIndex
		}
		end = at
	}
	if end.number != p.last || end.Next != p.next || p.next <= p.first {
		return stream, p, errIndex
	}
	return stream, p, nil
}

// write puts the index into its segment.
func (x *blockIndex) write(tx *bolt.Tx, seq uint64) error {
	bucket, err := tx.CreateBucket(bucketIndex)
	if err != nil {
		return fmt.Errorf("create index: %w", err)
	}
	bucket.FillPercent = 1
	return x.each(func(key []byte, p *indexPart) error {
		if err := bucket.Put(key, p.appendValue(nil, seq, key)); err != nil {
			return fmt.Errorf("put index: %w", err)
		}
		return nil
	})
}

// indexPartOf finds the part that has the offset, or the first after it, in a sealed segment.
func indexPartOf(r reader, seq uint64, stream string, offset uint64) (p indexPart, ok bool, err error) {
	bucket := r.bucket(bucketIndex)
	if bucket == nil {
		return p, false, errIndex
	}
	prefix, key := []byte(partPrefix(stream)), partKey(stream, offset)
	k, v := bucket.Floor(key)
	if bytes.Compare(k, prefix) < 0 { // another stream's, or none
		k, v = bucket.Seek(prefix)
	}
	for ; bytes.HasPrefix(k, prefix); k, v = bucket.Next() {
		if _, p, err = decodePart(seq, k, v); err != nil || p.next > offset {
			p.blocks = bytes.Clone(p.blocks)
			return p, err == nil, err
		}
	}
	return p, false, nil
}

// readIndexSpans returns what a sealed segment holds of each stream by its index, all of which it checks.
func readIndexSpans(r reader, seq uint64) (map[string]span, error) {
	bucket := r.bucket(bucketIndex)
	if bucket == nil {
		return nil, errIndex
	}
	spans := make(map[string]span)
	for k, v := bucket.Next(); k != nil; k, v = bucket.Next() {
		stream, p, err := decodePart(seq, k, v)
		if err == nil {
			err = addPart(spans, stream, &p)
		}
		if err != nil {
			return nil, err
		}
	}
	if blocks := r.bucket(bucketBlocks); len(spans) == 0 && blocks != nil {
		if k, _ := blocks.Seek(numberKey(0)); k != nil {
			return nil, errIndex
		}
	}
	return spans, nil
}

// addPart adds a part to its stream's span, after all parts before it.
func addPart(spans map[string]span, stream string, p *indexPart) error {
	sp, ok := spans[stream]
	if !ok {
		sp.first, sp.before = p.first, p.before
	}
	if p.first < sp.next {
		return errIndex
	}
	sp.next, sp.after = p.next, p.after
	spans[stream] = sp
	return nil
}
