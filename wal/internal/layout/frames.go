package layout

import (
	"sync"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Frames are the encoded events of one batch, until they are part of a block. The zero value is empty.
type Frames struct {
	bytes   []byte     // of all frames, one after another
	pooled  *[]byte    // where bytes came from
	cuts    []frameCut // where each frame ends, unless there are blocks
	blocks  [][]byte   // of a large batch: bytes holds complete blocks, whose offsets count from the batch's first event
	events  int
	payload uint64 // payload bytes of the batch, when there are blocks
	noted   int    // the most bytes of the batch's note
}

// frameCut ends a frame within Frames.bytes.
type frameCut struct{ end, payload uint32 }

var pool = sync.Pool{New: func() any { return new([]byte) }}

// poolable is the largest capacity, in bytes, of a buffer that is kept for reuse.
const poolable = 1 << 20

// blocksFrom is the length in bytes from which a batch gets blocks of its own. The last of these blocks may be only half
// full. In return the committer, for which all other batches wait, copies no frame of the batch and computes no
// checksum of its frames.
const blocksFrom = 8 * segment.BlockAim

// Encode encodes the events, whose frames have size bytes. note describes the batch if it is numbered; its offset need not
// be set. crowded: other batches are likely to follow in the same commit. The caller calls Release later.
func (f *Frames) Encode(stream string, events []segment.Event, size int64, note *segment.Note, crowded bool) {
	f.pooled, f.events = pool.Get().(*[]byte), len(events)
	f.noted = note.Size()
	if size >= blocksFrom {
		f.encodeBlocks(stream, events, size, note, crowded)
		return
	}
	f.bytes, f.cuts = f.buffer(size), make([]frameCut, len(events))
	var lanes laneMemo
	for i := range events {
		e := &events[i]
		f.bytes = segment.AppendFrame(f.bytes, e, lanes.of(e.Key))
		f.cuts[i] = frameCut{uint32(len(f.bytes)), uint32(len(e.Data))}
	}
}

// encodeBlocks lays the events into blocks whose first offset is 0.
func (f *Frames) encodeBlocks(stream string, events []segment.Event, size int64, note *segment.Note, crowded bool) {
	b := Builder{
		stream: stream, left: int(size) + f.noted, even: true, large: crowded,
		buf:    f.buffer(size + int64(f.noted) + maxBlocks(size)*int64(segment.BlockHeader+len(stream))),
		blocks: make([][]byte, 0, size/segment.BlockAim+2),
	}
	var lanes laneMemo
	for i := range events {
		e := &events[i]
		size := segment.FrameSize(e)
		if i == 0 {
			size += f.noted
		}
		b.reserve(size)
		if i == 0 {
			b.putNote(note)
		}
		lane := lanes.of(e.Key)
		b.buf = segment.AppendFrame(b.buf, e, lane)
		b.count(lane, uint32(len(e.Data)))
	}
	b.closeBlock()
	f.bytes, f.blocks, f.payload = b.buf, b.blocks, b.bytes
}

// buffer returns an empty buffer with a capacity of at least size bytes.
func (f *Frames) buffer(size int64) []byte {
	if int64(cap(*f.pooled)) < size {
		return make([]byte, 0, size)
	}
	return (*f.pooled)[:0]
}

// laneMemo caches the lane of the last key: batches often hold runs of one key.
type laneMemo struct {
	key  string
	lane uint8
}

func (m *laneMemo) of(key string) uint8 {
	if key != m.key || key == "" {
		m.key, m.lane = key, segment.LaneOf(key)
	}
	return m.lane
}

// Len returns the bytes of the frames and of the note.
func (f *Frames) Len() int {
	if f.blocks != nil {
		return len(f.bytes)
	}
	return len(f.bytes) + f.noted
}

// Events returns the number of events.
func (f *Frames) Events() int { return f.events }

// Growth returns the most bytes by which the frames make the newest segment grow, not counting pages that they share
// with other batches. A leaf holds at least two blocks, and up to a page at its end is unused.
func (f *Frames) Growth(stream string) int64 {
	size := int64(f.Len())
	return size + min(maxBlocks(size), int64(f.events))*int64(segment.BlockHeader+len(stream)+segment.BlockExtra) + int64(segment.PartOverhead+len(stream))
}

// maxBlocks returns the largest number of blocks that frames of that total length can need.
func maxBlocks(size int64) int64 { return 2*size/segment.BlockAim + 8 }

// Release returns the buffer to the pool, once the batch is stored or rejected.
func (f *Frames) Release() {
	if cap(f.bytes) <= poolable {
		*f.pooled = f.bytes
		pool.Put(f.pooled)
	}
	f.bytes, f.blocks, f.pooled = nil, nil, nil
}
