package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"
)

// In a segment the index has an entry for each part. The key is the stream's name with its length before it, and the
// part's first offset. The value is
//
//	version, CRC-32C, next, before, after, number, last, blocks
const (
	IndexVersion = 1
	indexSumAt   = 1
	IndexSumOf   = indexSumAt + 4
	IndexHeader  = IndexSumOf + 5*8

	// PartOverhead is the number of bytes that a part takes in addition to its blocks and its stream's name.
	PartOverhead = 2 + 8 + IndexHeader + StateElement
)

var errIndex = errors.New("a part of the index is malformed")

func partPrefix(stream string) string { return string(AppendText(nil, stream)) }

// PartKey returns the key of the part that begins with the offset first.
func PartKey(stream string, first uint64) []byte {
	return binary.BigEndian.AppendUint64(AppendText(nil, stream), first)
}

// AppendValue encodes the part. It is stored in the segment seq under key.
func (p *IndexPart) AppendValue(b []byte, seq uint64, key []byte) []byte {
	b = append(b, IndexVersion, 0, 0, 0, 0)
	for _, n := range []uint64{p.Next, p.before, p.after, p.number, p.Last} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, p.blocks...)
	binary.BigEndian.PutUint32(b[indexSumAt:], indexSum(seq, key, b))
	return b
}

func indexSum(seq uint64, key, value []byte) uint32 {
	sum := crc32.Checksum(NumberKey(seq), Castagnoli)
	sum = crc32.Update(sum, Castagnoli, key)
	return crc32.Update(sum, Castagnoli, value[IndexSumOf:])
}

// DecodePart decodes the result of AppendValue. The part's blocks lie in value.
func DecodePart(seq uint64, key, value []byte) (stream string, p IndexPart, err error) {
	d := Decoder{Rest: key}
	stream = string(d.Text())
	if d.Bad || len(d.Rest) != 8 || len(value) < IndexHeader ||
		binary.BigEndian.Uint32(value[indexSumAt:]) != indexSum(seq, key, value) {
		return stream, p, errIndex
	}
	if err := LaterVersion("index", uint64(value[0]), IndexVersion); err != nil {
		return stream, p, err
	}
	if value[0] != IndexVersion {
		return stream, p, errIndex
	}
	p.First = binary.BigEndian.Uint64(d.Rest)
	for i, n := range []*uint64{&p.Next, &p.before, &p.after, &p.number, &p.Last} {
		*n = binary.BigEndian.Uint64(value[IndexSumOf+8*i:])
	}
	p.blocks = value[IndexHeader:]
	end := BlockPlace{Run: Run{Next: p.First}}
	for at := range p.Places(0) {
		if at.First < end.Next || at.Next <= at.First || at.Number < end.Number {
			return stream, p, errIndex
		}
		end = at
	}
	if end.Number != p.Last || end.Next != p.Next || p.Next <= p.First {
		return stream, p, errIndex
	}
	return stream, p, nil
}

// Write writes the index into its segment.
func (x *BlockIndex) Write(tx *bolt.Tx, seq uint64) error {
	bucket, err := tx.CreateBucket(BucketIndex)
	if err != nil {
		return fmt.Errorf("create index: %w", err)
	}
	bucket.FillPercent = 1
	return x.Each(func(key []byte, p *IndexPart) error {
		if err := bucket.Put(key, p.AppendValue(nil, seq, key)); err != nil {
			return fmt.Errorf("put index: %w", err)
		}
		return nil
	})
}

// IndexPartOf finds the part that has the offset, or else the first part after it, in a sealed segment.
func IndexPartOf(r Reader, seq uint64, stream string, offset uint64) (p IndexPart, ok bool, err error) {
	bucket := r.Bucket(BucketIndex)
	if bucket == nil {
		return p, false, errIndex
	}
	prefix, key := []byte(partPrefix(stream)), PartKey(stream, offset)
	k, v := bucket.Floor(key)
	if bytes.Compare(k, prefix) < 0 { // another stream's, or none
		k, v = bucket.Seek(prefix)
	}
	for ; bytes.HasPrefix(k, prefix); k, v = bucket.Next() {
		if _, p, err = DecodePart(seq, k, v); err != nil || p.Next > offset {
			p.blocks = bytes.Clone(p.blocks)
			return p, err == nil, err
		}
	}
	return p, false, nil
}

// ReadIndexSpans returns the span of each stream in a sealed segment by its index. It checks the whole index.
func ReadIndexSpans(r Reader, seq uint64) (map[string]Span, error) {
	bucket := r.Bucket(BucketIndex)
	if bucket == nil {
		return nil, errIndex
	}
	spans := make(map[string]Span)
	for k, v := bucket.Next(); k != nil; k, v = bucket.Next() {
		stream, p, err := DecodePart(seq, k, v)
		if err == nil {
			err = addPart(spans, stream, &p)
		}
		if err != nil {
			return nil, err
		}
	}
	if blocks := r.Bucket(BucketBlocks); len(spans) == 0 && blocks != nil {
		if k, _ := blocks.Seek(NumberKey(0)); k != nil {
			return nil, errIndex
		}
	}
	return spans, nil
}

// addPart adds a part to its stream's span. All earlier parts of the stream must have been added before.
func addPart(spans map[string]Span, stream string, p *IndexPart) error {
	sp, ok := spans[stream]
	if !ok {
		sp.First, sp.before = p.First, p.before
	}
	if p.First < sp.Next {
		return errIndex
	}
	sp.Next, sp.After = p.Next, p.after
	spans[stream] = sp
	return nil
}
