package layout

import (
	"slices"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Builder lays frames into blocks: the frames of a commit group, stream by stream, or those of one batch. The zero value
// is ready after Reset.
type Builder struct {
	stream string
	next   uint64 // offset of the stream's next event
	bytes  uint64 // payload bytes before it
	time   int64

	buf    []byte        // the blocks that the builder makes, one after another
	blocks [][]byte      // the blocks that are complete except for their numbers
	start  int           // where the open block begins in buf
	notes  []byte        // of the open block
	noted  uint64        // the offset after the last batch that has a note in the open block
	open   segment.Block // the last block, while frames may still be added to it

	small  bool            // the blocks of the group are of about smallBlock
	left   int             // bytes of the frames that are not added yet
	even   bool            // the last leaf gets two blocks, so that later blocks begin another leaf
	large  bool            // the last leaves are as large as the others: more batches follow in the same commit
	end    segment.LeafEnd // after the last block that is complete
	leaf   int             // bytes that the last leaf has for its blocks
	enough int             // no frame is added to the open block once it is this long,
	most   int             // nor one that would make it longer than this
}

// bbolt splits a leaf of more than four blocks only, and the next commit writes the last leaf again. So with a small group in one block
// a commit, the last leaf would have two pages half of the time. With small blocks it has one.
const (
	smallGroup = 2800 // bytes of frames
	smallBlock = 560  // no frame is added to a block of a small group once it is this long
)

// maxSpare bounds the builder's buffer that is kept from one group to the next.
const maxSpare = 16 << 20

// Reset prepares the builder for a group whose frames have left bytes. The blocks of the group get the time now, in Unix
// nanoseconds, and follow the leaf that ends at end.
func (b *Builder) Reset(end segment.LeafEnd, now int64, left int) {
	if cap(b.buf) > maxSpare {
		b.buf = nil
	}
	*b = Builder{time: now, buf: b.buf[:0], blocks: b.blocks[:0], notes: b.notes[:0], end: end, left: left, small: left <= smallGroup}
}

// StartStream continues with a stream. Its next event has the offset next, and bytes of payload precede that event.
func (b *Builder) StartStream(stream string, next, bytes uint64) {
	b.closeBlock()
	b.stream, b.next, b.bytes = stream, next, bytes
}

// Add lays the frames of a batch of the stream into blocks, with the note that they were encoded with.
func (b *Builder) Add(f *Frames, note *segment.Note) {
	if f.blocks != nil {
		b.addBlocks(f)
		return
	}
	start := uint32(0)
	for i, cut := range f.cuts {
		frame := f.bytes[start:cut.end]
		start = cut.end
		if i == 0 && f.noted > 0 {
			b.reserve(len(frame) + f.noted)
			b.putNote(note)
		} else {
			b.reserve(len(frame))
		}
		b.buf = append(b.buf, frame...)
		b.count(frame[0], cut.payload)
	}
}

// putNote notes the batch, whose first frame is added next, in the open block.
func (b *Builder) putNote(note *segment.Note) {
	if note.Producer == "" {
		return
	}
	note.Offset = b.next
	b.notes = segment.AppendNote(b.notes, note, b.noted)
	b.noted = note.Offset + note.Events
}

// addBlocks appends the blocks of a batch that has blocks of its own.
func (b *Builder) addBlocks(f *Frames) {
	b.closeBlock()
	for _, value := range f.blocks {
		segment.MoveBlock(value, b.next, b.bytes, b.time)
		b.blocks = append(b.blocks, value)
		b.end.Add(len(value))
	}
	b.left -= len(f.bytes)
	b.next += uint64(f.events)
	b.bytes += f.payload
}

// reserve ensures that a block is open to which a frame of that length may be added.
func (b *Builder) reserve(length int) {
	if b.open.Count > 0 && !b.joins(length) && !b.alone(length) {
		b.closeBlock()
	}
	if b.open.Count == 0 {
		b.openBlock()
	}
	b.left -= length
}

// count counts the frame that has been added to the open block.
func (b *Builder) count(lane uint8, payload uint32) {
	b.open.Count++
	b.open.Bytes += uint64(payload)
	b.open.Lanes = b.open.Lanes.With(lane)
	b.next++
	b.bytes += uint64(payload)
}

// joins reports whether a frame of that length may be added to the open block.
func (b *Builder) joins(length int) bool {
	have := len(b.buf) - b.start + len(b.notes)
	return have < b.enough && have+length <= b.most
}

// alone reports whether the frame is the last one and would have a leaf to itself.
func (b *Builder) alone(length int) bool {
	return b.even && b.left == length && length <= segment.LeafPageSize && b.end.Blocks == 1
}

// openBlock opens a block. The first block of a leaf fills half of it, and the second block fills the rest. So frames that
// do not divide half a leaf evenly can still fill the whole leaf.
func (b *Builder) openBlock() {
	b.start = len(b.buf)
	b.open = segment.Block{Stream: b.stream, First: b.next, Time: b.time, Before: b.bytes}
	b.buf = segment.AppendBlockHeader(b.buf, &b.open)
	b.notes, b.noted = b.notes[:0], b.next
	if b.small {
		b.enough, b.most = smallBlock, segment.LeafPageSize/4
		return
	}
	if b.end.Blocks == 1 {
		b.enough = RestOfLeaf(b.end.Last(), max(b.leaf, LeafBytes(1)))
		b.most = b.enough
		return
	}
	b.leaf = b.nextLeafBytes()
	b.enough, b.most = b.leaf/2, b.leaf
	if b.even {
		b.enough = min(b.enough, (len(b.buf)-b.start+b.left)/2)
	}
}

// nextLeafBytes returns the bytes that the next leaf has for its blocks. The last two leaves of a group have one page each,
// since the next commit writes their content again. The leaf before them is sized accordingly.
func (b *Builder) nextLeafBytes() int {
	tail := 2 * segment.LeafPageSize
	if b.large {
		tail = 0
	}
	most := segment.LeafPages
	if b.large || b.left >= segment.WideFrom {
		most = segment.WideLeafPages
	}
	pages := (b.left - tail + segment.LeafPageSize - 1) / segment.LeafPageSize
	return LeafBytes(min(max(pages, 1), most))
}

// LeafBytes returns the bytes that a leaf of that many pages has for its two blocks: the bytes of the pages without
// the page's header, two elements and two keys.
func LeafBytes(pages int) int {
	return pages*segment.LeafPageSize - segment.LeafHeader - 2*segment.LeafElement
}

// RestOfLeaf returns the length of the second block that fills the pages of a leaf. first is the length of the first
// block, and leaf is LeafBytes. The result is about a quarter to three quarters of it, however short
// or long the first block is.
func RestOfLeaf(first, leaf int) int {
	rest := leaf - first
	for rest < leaf/4 {
		rest += segment.LeafPageSize
	}
	for rest > leaf/2+segment.LeafPageSize {
		rest -= segment.LeafPageSize
	}
	return rest
}

// closeBlock completes the open block: it writes the header again, with the final counts, and the checksum of the frames.
func (b *Builder) closeBlock() {
	if b.open.Count == 0 {
		return
	}
	segment.AppendBlockHeader(b.buf[b.start:b.start], &b.open)
	segment.SumFrames(b.buf[b.start:])
	if len(b.notes) > 0 {
		b.buf = segment.AppendNotes(b.buf, b.start, b.notes)
		b.notes = b.notes[:0]
	}
	value := slices.Clip(b.buf[b.start:])
	b.blocks = append(b.blocks, value)
	b.open = segment.Block{}
	b.end.Add(len(value))
}

// Finish completes the last block. It returns the blocks, except for their numbers, and the end of the last leaf.
func (b *Builder) Finish() (blocks [][]byte, end segment.LeafEnd) {
	b.closeBlock()
	return b.blocks, b.end
}
