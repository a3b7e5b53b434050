package wal

import (
	"os"
	"slices"
)

// packer lays the frames that one group appends to one stream into blocks.
type packer struct {
	stream *stream
	next   uint64 // offset of the next event
	bytes  uint64 // payload bytes before it
	time   int64

	name string // of the stream

	buf    []byte // of the blocks that are made here, one after another
	blocks []laid // those that are complete
	start  int    // where the open one begins in buf
	open   block  // the last one, while frames may still join it

	second bool // the open block is the second of its leaf
	enough int  // no frame joins the open block once it is this long,
	most   int  // nor one that would make it longer than this
	last   int  // the length of the block before the open one
}

// laid is a block that is complete but for where it comes to stand.
type laid struct {
	first uint64 // offset of its first event
	value []byte
}

// maxSpare bounds the buffers of all packers that are kept from one group to the next.
const maxSpare = 16 << 20

func (p *packer) reset(s *stream, now int64) {
	*p = packer{stream: s, name: s.name, time: now, buf: p.buf[:0], blocks: p.blocks[:0]}
	p.next, p.bytes = s.next, s.bytes // the committer alone changes them
	p.second, p.last = s.blocks%2 == 0, s.tail[len(s.tail)-1]
}

// add lays down a ticket's frames and returns the offset of the first.
func (p *packer) add(t *Ticket) (first uint64) {
	if t.blocks != nil {
		return p.adopt(t)
	}
	first = p.next
	start := uint32(0)
	for _, cut := range t.cuts {
		p.addFrame(t.frames[start:cut.end], cut.payload)
		start = cut.end
	}
	return first
}

func (p *packer) addFrame(frame []byte, payload uint32) {
	p.admit(len(frame))
	p.buf = append(p.buf, frame...)
	p.joined(frame[0], payload)
}

// adopt takes over the blocks of a ticket.
func (p *packer) adopt(t *Ticket) (first uint64) {
	p.finish()
	first = p.next
	for _, b := range t.blocks {
		b.first += first
		moveBlock(b.value, p.name, b.first, p.bytes, p.time)
		p.blocks = append(p.blocks, b)
		p.second, p.last = !p.second, len(b.value)
	}
	p.next += uint64(t.events)
	p.bytes += t.payload
	return first
}

// admit makes sure that a block is open that a frame of that length may join.
func (p *packer) admit(length int) {
	if p.open.count > 0 && !p.joins(length) {
		p.finish()
	}
	if p.open.count == 0 {
		p.begin()
	}
}

// joined counts the frame that has been added to the open block.
func (p *packer) joined(lane uint8, payload uint32) {
	p.open.count++
	p.open.bytes += uint64(payload)
	p.open.lanes = p.open.lanes.With(lane)
	p.next++
	p.bytes += uint64(payload)
}

// joins tells whether a frame of that length belongs into the open block.
func (p *packer) joins(length int) bool {
	have := len(p.buf) - p.start
	return have < p.enough && have+length <= p.most
}

// begin opens a block. The first of a leaf takes what makes half of it full, the second what is left
// then, so that frames which do not divide a half divide the whole.
func (p *packer) begin() {
	p.start = len(p.buf)
	p.open = block{first: p.next, time: p.time, before: p.bytes}
	p.buf = appendBlockHeader(p.buf, &p.open)
	p.second = !p.second
	if p.second {
		p.enough = restOfLeaf(p.last)
		p.most = p.enough
		return
	}
	p.enough, p.most = blockAim, leafRoom
}

// restOfLeaf returns what fills the pages of a leaf whose first block has that length: 4,097 to
// 8,192 bytes, however short or long the first one is.
func restOfLeaf(first int) int {
	const least, page = 4096, 4096
	rest := (leafRoom - first) % page
	if rest <= 0 {
		rest += page
	}
	return least + rest
}

// finish completes the open block: what the header says of its events is known now.
func (p *packer) finish() {
	if p.open.count == 0 {
		return
	}
	value := slices.Clip(p.buf[p.start:])
	appendBlockHeader(value[:0], &p.open)
	sealBlock(value, p.name, p.open.first)
	p.blocks = append(p.blocks, laid{p.open.first, value})
	p.open, p.last = block{}, len(value)
}

// each calls f with the first offset and the bytes of every block, in order.
func (p *packer) each(f func(first uint64, value []byte) error) error {
	p.finish()
	for _, b := range p.blocks {
		if err := f(b.first, b.value); err != nil {
			return err
		}
	}
	return nil
}

// tail is the lengths of a stream's last blocks. bbolt keeps up to four large values in the last leaf
// and writes them again with the next commit.
type tail [4]int

// follow adds the packer's blocks.
func (t *tail) follow(p *packer) {
	for _, b := range p.blocks[max(0, len(p.blocks)-len(t)):] {
		copy(t[:], t[1:])
		t[len(t)-1] = len(b.value)
	}
}

// size is the most that writing the tail again takes, with the pages on the way to it.
func (t *tail) size() (n int64) {
	for _, length := range t {
		n += int64(length)
	}
	return n + 4*int64(os.Getpagesize())
}
