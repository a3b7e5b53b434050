package wal

import (
	"slices"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// packer lays frames into blocks: the frames of a commit group, stream by stream, or those of one batch.
type packer struct {
	stream string
	next   uint64 // offset of the stream's next event
	bytes  uint64 // payload bytes before it
	time   int64

	buf    []byte        // the blocks that the packer makes, one after another
	blocks [][]byte      // the blocks that are complete except for their numbers
	start  int           // where the open block begins in buf
	open   segment.Block // the last block, while frames may still be added to it

	left   int             // bytes of the frames that are not added yet
	even   bool            // the last leaf gets two blocks, so that later blocks begin another leaf
	large  bool            // the last leaves are as large as the others: more batches follow in the same commit
	end    segment.LeafEnd // after the last block that is complete
	room   int             // bytes that the last leaf has for its blocks
	enough int             // no frame is added to the open block once it is this long,
	most   int             // nor one that would make it longer than this
}

// maxSpare bounds the packer's buffer that is kept from one group to the next.
const maxSpare = 16 << 20

// reset prepares the packer for a group whose frames have left bytes. The blocks of the group follow the leaf that ends
// at end.
func (p *packer) reset(end segment.LeafEnd, now int64, left int) {
	if cap(p.buf) > maxSpare {
		p.buf = nil
	}
	*p = packer{time: now, buf: p.buf[:0], blocks: p.blocks[:0], end: end, left: left}
}

// turn continues with a stream. Its next event has the offset next, and bytes of payload precede that event.
func (p *packer) turn(stream string, next, bytes uint64) {
	p.finish()
	p.stream, p.next, p.bytes = stream, next, bytes
}

// add lays a ticket's frames into blocks.
func (p *packer) add(t *Ticket) {
	if t.blocks != nil {
		p.adopt(t)
		return
	}
	start := uint32(0)
	for _, cut := range t.cuts {
		p.addFrame(t.frames[start:cut.end], cut.payload)
		start = cut.end
	}
}

func (p *packer) addFrame(frame []byte, payload uint32) {
	p.admit(len(frame))
	p.buf = append(p.buf, frame...)
	p.joined(frame[0], payload)
}

// adopt appends the blocks of a ticket that holds complete blocks.
func (p *packer) adopt(t *Ticket) {
	p.finish()
	for _, value := range t.blocks {
		segment.MoveBlock(value, p.next, p.bytes, p.time)
		p.blocks = append(p.blocks, value)
		p.end.Add(len(value))
	}
	p.left -= len(t.frames)
	p.next += uint64(t.events)
	p.bytes += t.payload
}

// admit ensures that a block is open to which a frame of that length may be added.
func (p *packer) admit(length int) {
	if p.open.Count > 0 && !p.joins(length) && !p.odd(length) {
		p.finish()
	}
	if p.open.Count == 0 {
		p.begin()
	}
	p.left -= length
}

// joined counts the frame that has been added to the open block.
func (p *packer) joined(lane uint8, payload uint32) {
	p.open.Count++
	p.open.Bytes += uint64(payload)
	p.open.Lanes = p.open.Lanes.With(lane)
	p.next++
	p.bytes += uint64(payload)
}

// joins reports whether a frame of that length may be added to the open block.
func (p *packer) joins(length int) bool {
	have := len(p.buf) - p.start
	return have < p.enough && have+length <= p.most
}

// odd reports whether the frame is the last one and would have a leaf to itself.
func (p *packer) odd(length int) bool {
	return p.even && p.left == length && length <= segment.LeafPageSize && p.end.Blocks == 1
}

// begin opens a block. The first block of a leaf fills half of it, and the second block fills the rest. So frames that
// do not divide half a leaf evenly can still fill the whole leaf.
func (p *packer) begin() {
	p.start = len(p.buf)
	p.open = segment.Block{Stream: p.stream, First: p.next, Time: p.time, Before: p.bytes}
	p.buf = segment.AppendBlockHeader(p.buf, &p.open)
	if p.end.Blocks == 1 {
		p.enough = restOfLeaf(p.end.Last(), max(p.room, roomOfLeaf(1)))
		p.most = p.enough
		return
	}
	p.room = p.leafRoom()
	p.enough, p.most = p.room/2, p.room
	if p.even {
		p.enough = min(p.enough, (len(p.buf)-p.start+p.left)/2)
	}
}

// leafRoom returns the bytes that the next leaf has for its blocks. The last two leaves of a group have one page each,
// since the next commit writes their content again. The leaf before them is sized accordingly.
func (p *packer) leafRoom() int {
	tail := 2 * segment.LeafPageSize
	if p.large {
		tail = 0
	}
	most := segment.LeafPages
	if p.large || p.left >= segment.WideFrom {
		most = segment.WideLeafPages
	}
	pages := (p.left - tail + segment.LeafPageSize - 1) / segment.LeafPageSize
	return roomOfLeaf(min(max(pages, 1), most))
}

// roomOfLeaf returns the bytes that a leaf of that many pages has for its two blocks: the bytes of the pages without
// the page's header, two elements and two keys.
func roomOfLeaf(pages int) int {
	return pages*segment.LeafPageSize - segment.LeafHeader - 2*segment.LeafElement
}

// restOfLeaf returns the length of the second block that fills the pages of a leaf. first is the length of the first
// block, and room is the room of the leaf. The result is about a quarter to three quarters of the room, however short
// or long the first block is.
func restOfLeaf(first, room int) int {
	rest := room - first
	for rest < room/4 {
		rest += segment.LeafPageSize
	}
	for rest > room/2+segment.LeafPageSize {
		rest -= segment.LeafPageSize
	}
	return rest
}

// finish completes the open block: it writes the header again, with the final counts, and the checksum of the frames.
func (p *packer) finish() {
	if p.open.Count == 0 {
		return
	}
	value := slices.Clip(p.buf[p.start:])
	segment.AppendBlockHeader(value[:0], &p.open)
	segment.SumFrames(value)
	p.blocks = append(p.blocks, value)
	p.open = segment.Block{}
	p.end.Add(len(value))
}
