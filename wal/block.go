package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
	"unsafe"
)

const (
	blockVersion = 1
	// blockHeader is the length of a block before its stream's name; see the drawing in doc.go.
	blockHeader = 1 + 4 + 8 + 4 + 8 + 8 + 8 + 8 + 4 + 2
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

	// blockAim is the length of a block to aim for: two fill a leaf, which is how bbolt fills leaves
	// with large values.
	blockAim = (leafPages*leafPageSize-leafHeader)/2 - leafElement
	// blockExtra is what a block may take beside its bytes: its key, its element, its half of what a leaf
	// leaves unused of its last page, and its entry in the index.
	blockExtra = 8 + 16 + 8 + 2048 + indexEntry
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// block is a run of consecutive events of one stream. Its bytes, the stream's name among them, may lie in
// a page of the log: they are valid for as long as the transaction they were read in.
type block struct {
	number uint64 // its key: blocks are numbered from 1 on in each segment
	stream string
	first  uint64 // offset of the first event
	count  uint32
	time   int64  // the agent's clock at the commit, Unix nanoseconds
	before uint64 // bytes of all payloads appended to the stream before this block
	bytes  uint64 // of the payloads in this block
	lanes  LaneSet
	sum    uint32 // of the frames
	frames []byte
}

// next returns the offset after the block's last event.
func (b *block) next() uint64 { return b.first + uint64(b.count) }

// appendBlockHeader appends the header of a block whose frames the caller appends next.
func appendBlockHeader(dst []byte, b *block) []byte {
	dst = append(dst, blockVersion, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, b.first)
	dst = binary.BigEndian.AppendUint32(dst, b.count)
	dst = binary.BigEndian.AppendUint64(dst, uint64(b.time))
	dst = binary.BigEndian.AppendUint64(dst, b.before)
	dst = binary.BigEndian.AppendUint64(dst, b.bytes)
	dst = binary.BigEndian.AppendUint64(dst, uint64(b.lanes))
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(b.stream)))
	return append(dst, b.stream...)
}

// headerLength returns where the frames begin in value, a whole block.
func headerLength(value []byte) int {
	return blockHeader + int(binary.BigEndian.Uint16(value[nameAt:]))
}

// sumFrames writes the frames' checksum into value, a whole block.
func sumFrames(value []byte) {
	binary.BigEndian.PutUint32(value[framesSumAt:], crc32.Checksum(value[headerLength(value):], castagnoli))
}

// moveBlock changes where a block comes to stand in its stream: its offset, the bytes before it and its
// time. Before, it has only those events and bytes counted that its own batch has before it.
func moveBlock(value []byte, first, before uint64, time int64) {
	binary.BigEndian.PutUint64(value[firstAt:], first+binary.BigEndian.Uint64(value[firstAt:]))
	binary.BigEndian.PutUint64(value[timeAt:], uint64(time))
	binary.BigEndian.PutUint64(value[beforeAt:], before+binary.BigEndian.Uint64(value[beforeAt:]))
}

// sealBlock writes the header's checksum into value, a whole block with the frames' sum that is stored
// under the number in the segment seq.
func sealBlock(value []byte, seq, number uint64) {
	binary.BigEndian.PutUint32(value[headerSumAt:], headerSum(value[:headerLength(value)], seq, number))
}

// headerSum covers what the header says and where the block stands, so that a block that turns up in the
// wrong place is not taken for good. It is apart from the frames' sum because a reader of other lanes,
// and Open, go by the header alone.
func headerSum(header []byte, seq, number uint64) uint32 {
	var place [16]byte
	binary.BigEndian.PutUint64(place[:], seq)
	binary.BigEndian.PutUint64(place[8:], number)
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, header[headerSumOf:])
}

// peekBlock reads a block's header, without a look at the frames: enough to pass over a block. The
// fault is empty when the header is good; otherwise nothing that it says is known but the number.
func peekBlock(seq uint64, key, value []byte) (b block, fault string) {
	if len(key) != 8 {
		return block{}, "a key is not 8 bytes long"
	}
	b.number = binary.BigEndian.Uint64(key)
	if len(value) < blockHeader {
		return b, "the block is shorter than its header"
	}
	header := headerLength(value)
	switch {
	case len(value) < header:
		return b, "the block is shorter than its header"
	case binary.BigEndian.Uint32(value[headerSumAt:]) != headerSum(value[:header], seq, b.number):
		return b, "the header's checksum does not match"
	case value[0] != blockVersion:
		return b, "the block's version is unknown"
	}
	b.readHeader(value)
	if b.stream == "" || b.count == 0 || b.first == 0 || b.next() < b.first {
		return b, fmt.Sprintf("the block holds %d events of %q from offset %d on", b.count, b.stream, b.first)
	}
	return b, ""
}

// laterBlock returns a VersionError if a later release wrote the block.
func laterBlock(seq uint64, key, value []byte) error {
	if len(value) == 0 || value[0] <= blockVersion {
		return nil
	}
	known := append([]byte{blockVersion}, value[1:min(len(value), headerPeek)]...)
	if _, fault := peekBlock(seq, key, known); fault != "" {
		return nil
	}
	return laterVersion("block", uint64(value[0]), blockVersion)
}

// headerPeek is the length of the longest header.
const headerPeek = blockHeader + maxStreamName

// readHeader reads a block that is known to have a whole header.
func (b *block) readHeader(value []byte) {
	name := value[blockHeader : blockHeader+int(binary.BigEndian.Uint16(value[nameAt:]))]
	b.stream = unsafe.String(unsafe.SliceData(name), len(name))
	b.first = binary.BigEndian.Uint64(value[firstAt:])
	b.count = binary.BigEndian.Uint32(value[countAt:])
	b.time = int64(binary.BigEndian.Uint64(value[timeAt:]))
	b.before = binary.BigEndian.Uint64(value[beforeAt:])
	b.bytes = binary.BigEndian.Uint64(value[bytesAt:])
	b.lanes = LaneSet(binary.BigEndian.Uint64(value[lanesAt:]))
	b.sum = binary.BigEndian.Uint32(value[framesSumAt:])
	b.frames = value[blockHeader+len(name):]
}

// parseBlock is peekBlock that checks the frames too. When only they are bad, b tells what is lost.
func parseBlock(seq uint64, key, value []byte) (b block, fault string) {
	if b, fault = peekBlock(seq, key, value); fault != "" {
		return b, fault
	}
	return b, b.framesFault()
}

// framesFault checks the frames of a block with a good header.
func (b *block) framesFault() string {
	if crc32.Checksum(b.frames, castagnoli) != b.sum {
		return "the checksum does not match"
	}
	return ""
}

// each calls f for every event that the block has. The event's bytes lie in the block.
func (b *block) each(f func(lane uint8, offset uint64, event []byte) error) error {
	offset, next, rest := b.first, b.next(), b.frames
	for len(rest) > 0 && offset < next {
		missing, r, err := splitGap(rest)
		if err != nil || missing > next-offset {
			return errFrame
		}
		if rest = r; missing > 0 {
			offset += missing
			continue
		}
		lane, event, r, err := splitFrame(rest)
		if err != nil {
			return err
		}
		if err := f(lane, offset, event); err != nil {
			return err
		}
		rest = r
		offset++
	}
	if len(rest) > 0 || offset != next {
		return errFrame
	}
	return nil
}

// at returns the block's time.
func (b *block) at() time.Time { return time.Unix(0, b.time) }
