package kafka

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"maps"
	"math/bits"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/standpipe/standpipe/wal"
)

// A record batch of Kafka's message format 2 (Apache Kafka, Implementation, Message Format; November 2026). All numbers
// of the header are big-endian:
//
//	 0  base offset      int64   0; the broker assigns it
//	 8  length           int32   of all that follows
//	12  leader epoch     int32   -1
//	16  magic            int8    2
//	17  CRC-32C          uint32  of all that follows
//	21  attributes       int16   the codec, and bit 4 in a transaction
//	23  last delta       int32   offset of the last record
//	27  first time       int64   milliseconds
//	35  greatest time    int64   milliseconds
//	43  producer         int64
//	51  producer epoch   int16
//	53  first sequence   int32
//	57  records          int32
//	61  the records, compressed by the codec
//
// A record is its length, one byte 0, the deltas of its time and offset, key, value, and headers, each a name and a value.
// Lengths and deltas are zigzag varints; a key of length -1 is none.
const (
	headerSize      = 61
	atLength        = 8
	atLeaderEpoch   = 12
	atMagic         = 16
	atCRC           = 17
	atAttributes    = 21
	atLastDelta     = 23
	atFirstTime     = 27
	atGreatestTime  = 35
	atProducer      = 43
	atProducerEpoch = 51
	atSequence      = 53
	atRecords       = 57

	magic              = 2
	transactional      = 1 << 4
	idHeader           = "standpipe-id"
	recordOverhead     = 1 + 5*10 // attributes; the varints of a record without its headers at most
	headerOverhead     = 2 * 5    // the varints of a header at most
	maxOffsetDigits    = 20
	unknownIDSize      = 320 // of an ID at most
	nanosecondsOfMilli = 1e6
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batch is a record batch for one partition: the broker stores all of its records or none.
type batch struct {
	buf     []byte   // the header's room and the records; after finish the whole batch
	refs    []uint64 // of each record, a number of the caller
	first   int64    // time of the first record
	latest  int64
	encoder *encoder

	// Of the producer, under its mutex:
	group   *group
	seq     int32 // as it was last sent
	sent    bool  // it has its producer, epoch and sequence number
	unknown bool  // and may be stored
	tries   int   // that failed since it was queued
}

// encoder makes batches.
type encoder struct {
	compressor kgo.Compressor // nil: none
	branches   []wal.Branch
	stream     string
	attributes int16
}

// record is the content of one record.
type record struct {
	key        string
	offset     uint64 // of the event
	time       int64  // nanoseconds
	attributes map[string]string
	data       []byte
}

// batchBuffers holds buffers of the size of a batch.
var batchBuffers = sync.Pool{New: func() any { return new(batch) }}

func (e *encoder) newBatch() *batch {
	b := batchBuffers.Get().(*batch)
	*b = batch{buf: append(b.buf[:0], make([]byte, headerSize)...), refs: b.refs[:0], encoder: e}
	return b
}

// recycle frees the batch. No request may have it.
func (b *batch) recycle() { batchBuffers.Put(b) }

// recordSize returns the greatest number of bytes that the record takes in a batch.
func (e *encoder) recordSize(r *record) int {
	n := recordOverhead + len(r.key) + len(r.data) + headerOverhead + len(idHeader) + e.idSize(e.branch(r.offset))
	for name, value := range r.attributes {
		n += headerOverhead + len(name) + len(value)
	}
	return n
}

func (e *encoder) idSize(b wal.Branch) int {
	return len(b.ID) + 1 + len(e.stream) + 1 + maxOffsetDigits
}

// idHeaderSize returns the greatest number of bytes that the header with an ID takes.
func (e *encoder) idHeaderSize() int {
	most := 0
	if len(e.branches) == 0 { // the log is not open yet
		most = unknownIDSize
	}
	for _, b := range e.branches {
		most = max(most, e.idSize(b))
	}
	return headerOverhead + len(idHeader) + most
}

// branch returns the run of events that the event at offset belongs to.
func (e *encoder) branch(offset uint64) wal.Branch {
	for i := len(e.branches) - 1; i > 0; i-- {
		if offset >= e.branches[i].First {
			return e.branches[i]
		}
	}
	if len(e.branches) == 0 {
		return wal.Branch{}
	}
	return e.branches[0]
}

// appendID appends the event's ID, as an envelope has it.
func (e *encoder) appendID(dst []byte, offset uint64) []byte {
	dst = append(dst, e.branch(offset).ID...)
	dst = append(dst, '/')
	dst = append(dst, e.stream...)
	dst = append(dst, '/')
	return appendDecimal(dst, offset)
}

func appendDecimal(dst []byte, n uint64) []byte {
	var digits [maxOffsetDigits]byte
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return append(dst, digits[i:]...)
		}
	}
}

// add appends the record.
func (b *batch) add(r *record, ref uint64) {
	milli := r.time / nanosecondsOfMilli
	if len(b.refs) == 0 {
		b.first, b.latest = milli, milli
	}
	b.latest = max(b.latest, milli)
	var scratch [128]byte
	id := b.encoder.appendID(scratch[:0], r.offset)

	timeDelta, offsetDelta := milli-b.first, int64(len(b.refs))
	size := 1 + varintSize(timeDelta) + varintSize(offsetDelta) + fieldSize(len(r.key)) + fieldSize(len(r.data)) +
		varintSize(int64(len(r.attributes)+1)) + fieldSize(len(idHeader)) + fieldSize(len(id))
	for name, value := range r.attributes {
		size += fieldSize(len(name)) + fieldSize(len(value))
	}

	dst := binary.AppendVarint(b.buf, int64(size))
	dst = append(dst, 0)
	dst = binary.AppendVarint(dst, timeDelta)
	dst = binary.AppendVarint(dst, offsetDelta)
	dst = appendField(dst, r.key)
	dst = binary.AppendVarint(dst, int64(len(r.data)))
	dst = append(dst, r.data...)
	dst = binary.AppendVarint(dst, int64(len(r.attributes)+1))
	dst = appendField(dst, idHeader)
	dst = binary.AppendVarint(dst, int64(len(id)))
	dst = append(dst, id...)
	if len(r.attributes) > 0 {
		for _, name := range slices.Sorted(maps.Keys(r.attributes)) {
			dst = appendField(dst, name)
			dst = appendField(dst, r.attributes[name])
		}
	}
	b.buf = dst
	b.refs = append(b.refs, ref)
}

// varintSize returns the bytes of a zigzag varint.
func varintSize(n int64) int { return (bits.Len64(uint64(n)<<1^uint64(n>>63)|1) + 6) / 7 }

func fieldSize(n int) int { return varintSize(int64(n)) + n }

func appendField(dst []byte, s string) []byte {
	return append(binary.AppendVarint(dst, int64(len(s))), s...)
}

// finish compresses the records and fills in the header, except for the producer's part of it.
func (b *batch) finish() {
	attributes := b.encoder.attributes
	if c := b.encoder.compressor; c != nil {
		packed := batchBuffers.Get().(*batch)
		into := bytes.NewBuffer(packed.buf[:0])
		out, codec := c.Compress(into, b.buf[headerSize:])
		if codec > kgo.CodecNone && len(out) < len(b.buf)-headerSize {
			b.buf = append(b.buf[:headerSize], out...)
			attributes |= int16(codec)
		}
		packed.buf = into.Bytes()
		packed.recycle()
	}
	h := b.buf
	clear(h[:headerSize])
	put32(h, atLength, uint32(len(h)-atLeaderEpoch))
	put32(h, atLeaderEpoch, ^uint32(0))
	h[atMagic] = magic
	binary.BigEndian.PutUint16(h[atAttributes:], uint16(attributes))
	put32(h, atLastDelta, uint32(len(b.refs)-1))
	binary.BigEndian.PutUint64(h[atFirstTime:], uint64(b.first))
	binary.BigEndian.PutUint64(h[atGreatestTime:], uint64(b.latest))
	put32(h, atRecords, uint32(len(b.refs)))
}

// stamp fills in the producer's part of the header, and the checksum.
func (b *batch) stamp(producer int64, epoch int16, seq int32) {
	binary.BigEndian.PutUint64(b.buf[atProducer:], uint64(producer))
	binary.BigEndian.PutUint16(b.buf[atProducerEpoch:], uint16(epoch))
	put32(b.buf, atSequence, uint32(seq))
	put32(b.buf, atCRC, crc32.Checksum(b.buf[atAttributes:], castagnoli))
}

func put32(b []byte, at int, n uint32) { binary.BigEndian.PutUint32(b[at:], n) }

// partitionOf returns the partition of a key as Kafka's clients choose it: the murmur2 hash without its sign.
func partitionOf(key string, partitions int) int {
	return int(murmur2(key)&0x7fffffff) % partitions
}

// murmur2 is the 32-bit MurmurHash2 with Kafka's seed.
func murmur2(key string) uint32 {
	const (
		seed = 0x9747b28c
		mix  = 0x5bd1e995
	)
	h := uint32(seed) ^ uint32(len(key))
	for len(key) >= 4 {
		k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
		k *= mix
		k ^= k >> 24
		h = h*mix ^ k*mix
		key = key[4:]
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(key[0])) * mix
	}
	h ^= h >> 13
	h *= mix
	return h ^ h>>15
}
