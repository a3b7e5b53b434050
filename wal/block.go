package wal

import (
	"encoding/binary"
	"hash/crc32"
	"time"
	"unsafe"
)

const (
	blockVersion = 1
	// blockHeader is the length of a block before its frames; see the drawing in doc.go.
	blockHeader = 1 + 4 + 4 + 8 + 8 + 8 + 8 + 4
	headerSumAt = 1
	headerSumOf = headerSumAt + 4
	timeAt      = headerSumOf + 4
	beforeAt    = timeAt + 8
	framesSumAt = blockHeader - 4

	// leafRoom is what a leaf of four pages has for the bytes of its two blocks, which is how bbolt
	// fills leaves with large values: the page's header, two elements and two keys are taken off.
	leafRoom = 4*4096 - 16 - 2*(16+8)
	// blockAim is the length of a block to aim for.
	blockAim = leafRoom / 2
	// blockExtra is what a block may take beside its bytes: its key, its element, and its half of
	// what a leaf leaves unused of its last page.
	blockExtra = 8 + 16 + 8 + 2048
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// block is a run of consecutive events of one stream. Its bytes may lie in a page of the log:
// they are valid for as long as the transaction they were read in.
type block struct {
	first  uint64 // offset of the first event: the bucket's key
	count  uint32
	time   int64  // the agent's clock at the commit, Unix nanoseconds
	before uint64 // bytes of all payloads appended to the stream before this block
	bytes  uint64 // of the payloads in this block
	lanes  LaneSet
	frames []byte
}

// next returns the offset after the block's last event.
func (b *block) next() uint64 { return b.first + uint64(b.count) }

// appendBlockHeader appends the header of a block whose frames the caller appends next.
func appendBlockHeader(dst []byte, b *block) []byte {
	dst = append(dst, blockVersion, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, b.count)
	dst = binary.BigEndian.AppendUint64(dst, uint64(b.time))
	dst = binary.BigEndian.AppendUint64(dst, b.before)
	dst = binary.BigEndian.AppendUint64(dst, b.bytes)
	dst = binary.BigEndian.AppendUint64(dst, uint64(b.lanes))
	return append(dst, 0, 0, 0, 0)
}

// sealBlock writes the checksums into value, a whole block that is stored under first.
func sealBlock(value []byte, stream string, first uint64) {
	binary.BigEndian.PutUint32(value[framesSumAt:], framesSum(value))
	binary.BigEndian.PutUint32(value[headerSumAt:], headerSum(value, stream, first))
}

// moveBlock changes where a sealed block comes to stand: its offset, the bytes before it and its time.
// Before, it has only those counted that its own batch has before it.
func moveBlock(value []byte, stream string, first, before uint64, time int64) {
	binary.BigEndian.PutUint64(value[timeAt:], uint64(time))
	binary.BigEndian.PutUint64(value[beforeAt:], before+binary.BigEndian.Uint64(value[beforeAt:]))
	binary.BigEndian.PutUint32(value[headerSumAt:], headerSum(value, stream, first))
}

// headerSum covers what the header says, where the block stands and whose it is, so that a block that
// turns up in the wrong place is not taken for good. It is apart from the frames' sum because a reader
// of other lanes, and Open, go by the header alone.
func headerSum(value []byte, stream string, first uint64) uint32 {
	var key [8]byte
	binary.BigEndian.PutUint64(key[:], first)
	sum := crc32.Update(0, castagnoli, key[:])
	sum = crc32.Update(sum, castagnoli, unsafe.Slice(unsafe.StringData(stream), len(stream)))
	return crc32.Update(sum, castagnoli, value[headerSumOf:blockHeader])
}

func framesSum(value []byte) uint32 { return crc32.Checksum(value[blockHeader:], castagnoli) }

// peekBlock reads a block's header, without a look at the frames: enough to pass over a block.
// fault is empty when the header is good.
func peekBlock(stream string, key, value []byte) (b block, fault string) {
	if len(key) != 8 {
		return block{}, "a key is not 8 bytes long"
	}
	b = block{first: binary.BigEndian.Uint64(key)}
	switch {
	case len(value) < blockHeader:
		return b, "the block is shorter than its header"
	case value[0] != blockVersion:
		return b, "the block's version is unknown"
	case binary.BigEndian.Uint32(value[headerSumAt:]) != headerSum(value, stream, b.first):
		return b, "the header's checksum does not match"
	}
	b.count = binary.BigEndian.Uint32(value[5:])
	b.time = int64(binary.BigEndian.Uint64(value[9:]))
	b.before = binary.BigEndian.Uint64(value[17:])
	b.bytes = binary.BigEndian.Uint64(value[25:])
	b.lanes = LaneSet(binary.BigEndian.Uint64(value[33:]))
	b.frames = value[blockHeader:]
	if b.count == 0 {
		return b, "the block holds no event"
	}
	return b, ""
}

// parseBlock is peekBlock that checks the frames too.
func parseBlock(stream string, key, value []byte) (b block, fault string) {
	if b, fault = peekBlock(stream, key, value); fault != "" {
		return b, fault
	}
	if binary.BigEndian.Uint32(value[framesSumAt:]) != framesSum(value) {
		return b, "the checksum does not match"
	}
	return b, ""
}

// each calls f for every event of the block. The event's bytes lie in the block.
func (b *block) each(f func(lane uint8, offset uint64, event []byte) error) error {
	rest := b.frames
	for i := range uint64(b.count) {
		lane, event, r, err := splitFrame(rest)
		if err != nil {
			return err
		}
		if err := f(lane, b.first+i, event); err != nil {
			return err
		}
		rest = r
	}
	if len(rest) != 0 {
		return errFrame
	}
	return nil
}

// payload returns the bytes of the payloads of all events in the block.
func (b *block) payload() (n uint64, err error) {
	err = b.each(func(_ uint8, _ uint64, raw []byte) error {
		var e Event
		err := decodeEvent(raw, &e)
		n += uint64(len(e.Data))
		return err
	})
	return n, err
}

// at returns the block's time.
func (b *block) at() time.Time { return time.Unix(0, b.time) }
