package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
	"unsafe"
)

// A block is a run of consecutive events that one commit appended to one stream:
//
//	 0       1          5       13      17     25       33      41      49         53         55
//	+---------+----------+-------+-------+------+--------+-------+-------+----------+----------+------+--------
//	| version | header's | first | count | time | before | bytes | lanes | frames'  | length   | name | frames
//	|    1    | CRC-32C  |       |       |      |        |       |       | CRC-32C  | of name  |      |
//	+---------+----------+-------+-------+------+--------+-------+-------+----------+----------+------+--------
//
// The header's checksum covers the segment's number, the block's number, and the header with the name.
const (
	plainVersion = 1
	// BlockVersion is the latest version: that of a block with notes, see notes.go. A block without notes has the first.
	BlockVersion = notedVersion
	// BlockHeader is the length of a block before its stream's name.
	BlockHeader = 1 + 4 + 8 + 4 + 8 + 8 + 8 + 8 + 4 + 2
	headerSumAt = 1
	headerSumOf = headerSumAt + 4
	firstAt     = headerSumOf
	countAt     = firstAt + 8
	timeAt      = countAt + 4
	beforeAt    = timeAt + 8
	bytesAt     = beforeAt + 8
	lanesAt     = bytesAt + 8
	framesSumAt = lanesAt + 8
	nameAt      = framesSumAt + 4

	// BlockAim is the target length of a block: two blocks fill a leaf, as bbolt puts two large values into a leaf.
	BlockAim = (LeafPages*LeafPageSize-LeafHeader)/2 - LeafElement
	// BlockExtra is the most bytes that a block takes beside its own: its key, its element, half of the unused end of
	// its leaf's last page, and its entry in the index.
	BlockExtra = 8 + 16 + 8 + 2048 + indexEntry
)

// Castagnoli is the polynomial of all checksums.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Block is a run of consecutive events of one stream. Its bytes, with the stream's name, may lie in a page of the log:
// they are valid for as long as the transaction that they were read in.
type Block struct {
	Number uint64 // its key: blocks are numbered from 1 on in each segment
	Stream string
	First  uint64 // offset of the first event
	Count  uint32
	Time   int64  // the agent's clock at the commit, Unix nanoseconds
	Before uint64 // bytes of all payloads appended to the stream before this block
	Bytes  uint64 // of the payloads in this block
	Lanes  LaneSet
	sum    uint32 // of the frames
	Frames []byte
	notes  []byte // of the numbered batches that begin in the block

	NotesLost bool // the notes are damaged
}

// Next returns the offset after the block's last event.
func (b *Block) Next() uint64 { return b.First + uint64(b.Count) }

// AppendBlockHeader appends the header of a block whose frames the caller appends next.
func AppendBlockHeader(dst []byte, b *Block) []byte {
	dst = append(dst, plainVersion, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, b.First)
	dst = binary.BigEndian.AppendUint32(dst, b.Count)
	dst = binary.BigEndian.AppendUint64(dst, uint64(b.Time))
	dst = binary.BigEndian.AppendUint64(dst, b.Before)
	dst = binary.BigEndian.AppendUint64(dst, b.Bytes)
	dst = binary.BigEndian.AppendUint64(dst, uint64(b.Lanes))
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(b.Stream)))
	return append(dst, b.Stream...)
}

// HeaderLength returns the offset of the frames in value, which is a whole block.
func HeaderLength(value []byte) int {
	return BlockHeader + int(binary.BigEndian.Uint16(value[nameAt:]))
}

// SumFrames writes the frames' checksum into value, which is a whole block without notes.
func SumFrames(value []byte) {
	binary.BigEndian.PutUint32(value[framesSumAt:], crc32.Checksum(value[HeaderLength(value):], Castagnoli))
}

// MoveBlock sets the final position of a block in its stream: its first offset, the bytes before it, and its time.
// Until then the block's first offset and its bytes before it are relative to the beginning of its batch.
func MoveBlock(value []byte, first, before uint64, time int64) {
	binary.BigEndian.PutUint64(value[firstAt:], first+binary.BigEndian.Uint64(value[firstAt:]))
	binary.BigEndian.PutUint64(value[timeAt:], uint64(time))
	binary.BigEndian.PutUint64(value[beforeAt:], before+binary.BigEndian.Uint64(value[beforeAt:]))
}

// SealBlock writes the header's checksum into value, which is a whole block with the frames' checksum set. The block
// must be stored under number in the segment seq.
func SealBlock(value []byte, seq, number uint64) {
	sum := headerSum(value[:HeaderLength(value)], seq, number)
	binary.BigEndian.PutUint32(value[headerSumAt:], sum)
	if Noted(value) {
		sealNotes(value, sum)
	}
}

// headerSum covers the header and the block's position, so that a block in a wrong position is not accepted as good.
// It is separate from the frames' checksum because Open, and a reader of other lanes, read the header alone.
func headerSum(header []byte, seq, number uint64) uint32 {
	var place [16]byte
	binary.BigEndian.PutUint64(place[:], seq)
	binary.BigEndian.PutUint64(place[8:], number)
	return crc32.Update(crc32.Checksum(place[:], Castagnoli), Castagnoli, header[headerSumOf:])
}

// PeekBlock decodes a block's header and does not read the frames. That is enough to skip a block. fault is empty if
// the header is good; otherwise only the block's number may be relied on.
func PeekBlock(seq uint64, key, value []byte) (b Block, fault string) {
	if b, fault = peekHeader(seq, key, value); fault == "" && Noted(value) {
		b.cutNotes(value)
	}
	return b, fault
}

// peekHeader decodes the header. The frames of the result still have the tail.
func peekHeader(seq uint64, key, value []byte) (b Block, fault string) {
	if len(key) != 8 {
		return Block{}, "a key is not 8 bytes long"
	}
	b.Number = binary.BigEndian.Uint64(key)
	if len(value) < BlockHeader {
		return b, "the block is shorter than its header"
	}
	header := HeaderLength(value)
	switch {
	case len(value) < header:
		return b, "the block is shorter than its header"
	case binary.BigEndian.Uint32(value[headerSumAt:]) != headerSum(value[:header], seq, b.Number):
		return b, "the header's checksum does not match"
	case value[0] != plainVersion && value[0] != notedVersion:
		return b, "the block's version is unknown"
	}
	b.readHeader(value)
	if b.Stream == "" || b.Count == 0 || b.First == 0 || b.Next() < b.First {
		return b, fmt.Sprintf("the block holds %d events of %q from offset %d on", b.Count, b.Stream, b.First)
	}
	return b, ""
}

// LaterBlock returns a VersionError if a later release wrote the block.
func LaterBlock(seq uint64, key, value []byte) error {
	if len(value) == 0 || value[0] <= BlockVersion {
		return nil
	}
	known := append([]byte{plainVersion}, value[1:min(len(value), headerPeek)]...)
	if _, fault := peekHeader(seq, key, known); fault != "" {
		return nil
	}
	return LaterVersion("block", uint64(value[0]), BlockVersion)
}

// headerPeek is the length of the longest header.
const headerPeek = BlockHeader + MaxStreamName

// readHeader decodes a block whose header is known to be whole.
func (b *Block) readHeader(value []byte) {
	name := value[BlockHeader : BlockHeader+int(binary.BigEndian.Uint16(value[nameAt:]))]
	b.Stream = unsafe.String(unsafe.SliceData(name), len(name))
	b.First = binary.BigEndian.Uint64(value[firstAt:])
	b.Count = binary.BigEndian.Uint32(value[countAt:])
	b.Time = int64(binary.BigEndian.Uint64(value[timeAt:]))
	b.Before = binary.BigEndian.Uint64(value[beforeAt:])
	b.Bytes = binary.BigEndian.Uint64(value[bytesAt:])
	b.Lanes = LaneSet(binary.BigEndian.Uint64(value[lanesAt:]))
	b.sum = binary.BigEndian.Uint32(value[framesSumAt:])
	b.Frames = value[BlockHeader+len(name):]
}

// ParseBlock is PeekBlock that checks the frames too. If only the frames are bad, b has the stream and the offsets of
// the lost block.
func ParseBlock(seq uint64, key, value []byte) (b Block, fault string) {
	if b, fault = PeekBlock(seq, key, value); fault != "" {
		return b, fault
	}
	return b, b.FramesFault()
}

// FramesFault checks the frames of a block with a good header.
func (b *Block) FramesFault() string {
	if crc32.Checksum(b.Frames, Castagnoli) != b.sum {
		return "the checksum does not match"
	}
	return ""
}

// Each calls f for every event in the block, and skips those that a compaction removed. The event's bytes lie in the
// block.
func (b *Block) Each(f func(lane uint8, offset uint64, event []byte) error) error {
	rest, err := b.each(f)
	if err == nil && len(rest) > 0 {
		err = ErrFrame
	}
	return err
}

// each is Each that returns the bytes after the last event.
func (b *Block) each(f func(lane uint8, offset uint64, event []byte) error) (rest []byte, err error) {
	offset, next := b.First, b.Next()
	for rest = b.Frames; len(rest) > 0 && offset < next; {
		missing, r, err := splitGap(rest)
		if err != nil || missing > next-offset {
			return nil, ErrFrame
		}
		if rest = r; missing > 0 {
			offset += missing
			continue
		}
		lane, event, r, err := SplitFrame(rest)
		if err != nil {
			return nil, err
		}
		if err := f(lane, offset, event); err != nil {
			return nil, err
		}
		rest = r
		offset++
	}
	if offset != next {
		return nil, ErrFrame
	}
	return rest, nil
}

// At returns the block's time.
func (b *Block) At() time.Time { return time.Unix(0, b.Time) }
