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

	buf    []byte // the blocks, one after another
	starts []int  // where each block begins
	firsts []uint64
	open   block // the last one, while frames may still join it

	second bool // the open block is the second of its leaf
	enough int  // no frame joins the open block once it is this long,
	most   int  // nor one that would make it longer than this
	last   int  // the length of the block before the open one
}

// maxSpare bounds the buffers of all packers that are kept from one group to the next.
const maxSpare = 16 << 20

func (p *packer) reset(s *stream, now int64) {
	*p = packer{stream: s, time: now, buf: p.buf[:0], starts: p.starts[:0], firsts: p.firsts[:0]}
	p.next, p.bytes = s.next, s.bytes // the committer alone changes them
	p.second, p.last = s.blocks%2 == 0, s.tail[len(s.tail)-1]
}

// add lays down a ticket's frames and returns the offset of the first.
func (p *packer) add(t *Ticket) (first uint64) {
	first = p.next
	start := uint32(0)
	for _, cut := range t.cuts {
		p.addFrame(t.frames[start:cut.end], cut.payload)
		start = cut.end
	}
	return first
}

func (p *packer) addFrame(frame []byte, payload uint32) {
	if p.open.count > 0 && !p.joins(len(frame)) {
		p.finish()
	}
	if p.open.count == 0 {
		p.begin()
	}
	p.buf = append(p.buf, frame...)
	p.open.count++
	p.open.bytes += uint64(payload)
	p.open.lanes = p.open.lanes.With(frame[0])
	p.next++
	p.bytes += uint64(payload)
}

// joins tells whether a frame of that length belongs into the open block.
func (p *packer) joins(length int) bool {
	have := len(p.buf) - p.starts[len(p.starts)-1]
	return have < p.enough && have+length <= p.most
}

// begin opens a block. The first of a leaf takes what makes half of it full, the second what is left
// then, so that frames which do not divide a half divide the whole.
func (p *packer) begin() {
	p.starts, p.firsts = append(p.starts, len(p.buf)), append(p.firsts, p.next)
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
	value := p.buf[p.starts[len(p.starts)-1]:]
	appendBlockHeader(value[:0], &p.open)
	sealBlock(value, p.stream.name, p.open.first)
	p.open, p.last = block{}, len(value)
}

// each calls f with the first offset and the bytes of every block, in order.
func (p *packer) each(f func(first uint64, value []byte) error) error {
	p.finish()
	for i, start := range p.starts {
		end := len(p.buf)
		if i+1 < len(p.starts) {
			end = p.starts[i+1]
		}
		if err := f(p.firsts[i], slices.Clip(p.buf[start:end])); err != nil {
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
	end := len(p.buf)
	lengths := make([]int, 0, len(t))
	for i := len(p.starts) - 1; i >= 0 && len(lengths) < len(t); i-- {
		lengths = append(lengths, end-p.starts[i])
		end = p.starts[i]
	}
	slices.Reverse(lengths)
	copy(t[:], append(t[len(lengths):], lengths...))
}

// size is the most that writing the tail again takes, with the pages on the way to it.
func (t *tail) size() (n int64) {
	for _, length := range t {
		n += int64(length)
	}
	return n + 4*int64(os.Getpagesize())
}
