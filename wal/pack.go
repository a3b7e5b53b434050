package wal

import (
	"slices"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// packer lays frames into blocks: those that a group appends, stream by stream, or those of one batch.
type packer struct {
	stream string
	next   uint64 // offset of the stream's next event
	bytes  uint64 // payload bytes before it
	time   int64

	buf    []byte        // of the blocks that are made here, one after another
	blocks [][]byte      // those that are complete but for their numbers
	start  int           // where the open one begins in buf
	open   segment.Block // the last one, while frames may still join it

	left   int             // bytes of frames that are to be added still
	even   bool            // the last leaf is to have two blocks: what comes next begins another
	large  bool            // the last leaves are as large as the others: more is to follow in the same commit
	end    segment.LeafEnd // after the last block that is complete
	room   int             // of the last leaf
	enough int             // no frame joins the open block once it is this long,
	most   int             // nor one that would make it longer than this
}

// maxSpare bounds the packer's buffer that is kept from one group to the next.
const maxSpare = 16 << 20

// reset begins with a group of which so many bytes are to be laid; its blocks follow those that end there.
func (p *packer) reset(end segment.LeafEnd, now int64, left int) {
	if cap(p.buf) > maxSpare {
		p.buf = nil
	}
	*p = packer{time: now, buf: p.buf[:0], blocks: p.blocks[:0], end: end, left: left}
}

// turn goes on with a stream, whose next event has that offset, after so many bytes of payload.
func (p *packer) turn(stream string, next, bytes uint64) {
	p.finish()
	p.stream, p.next, p.bytes = stream, next, bytes
}

// add lays down a ticket's frames.
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

// adopt takes over the blocks of a ticket.
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

// admit makes sure that a block is open that a frame of that length may join.
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

// joins tells whether a frame of that length belongs into the open block.
func (p *packer) joins(length int) bool {
	have := len(p.buf) - p.start
	return have < p.enough && have+length <= p.most
}

// odd tells whether the frame is the last one and would have a leaf to itself.
func (p *packer) odd(length int) bool {
	return p.even && p.left == length && length <= segment.LeafPageSize && p.end.Blocks == 1
}

// begin opens a block. The first of a leaf takes what makes half of it full, the second what is left
// then, so that frames which do not divide a half divide the whole.
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

// leafRoom returns what the next leaf has for its blocks. The last two leaves have one page, and the one
// before makes that come out, since the next commit writes again what the last two hold.
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

// roomOfLeaf returns what a leaf of so many pages has for the bytes of its two blocks: the page's header, two
// elements and two keys are taken off.
func roomOfLeaf(pages int) int {
	return pages*segment.LeafPageSize - segment.LeafHeader - 2*segment.LeafElement
}

// restOfLeaf returns what fills the pages of a leaf with that room whose first block has that length: about
// a quarter to three quarters of it, however short or long the first one is.
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

// finish completes the open block: what the header says of its events is known now.
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
