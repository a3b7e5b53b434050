package parquet

import (
	"errors"
	"io"
)

// pagePool makes the buffers for the pages of the columns of a row group.
type pagePool struct{}

func (pagePool) GetBuffer() io.ReadWriteSeeker { return new(pages) }

func (pagePool) PutBuffer(io.ReadWriteSeeker) {}

// pages has the encoded pages of a column. WriteTo frees their memory block by block, so that a row group is not in memory
// twice while it is written.
type pages struct {
	blocks [][]byte
	read   int // bytes of blocks that Read has returned
}

// pageBlock is the size of a block.
const pageBlock = 64 << 10

func (p *pages) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		last := len(p.blocks) - 1
		if last < 0 || len(p.blocks[last]) == pageBlock {
			p.blocks = append(p.blocks, make([]byte, 0, pageBlock))
			last++
		}
		some := b[:min(len(b), pageBlock-len(p.blocks[last]))]
		p.blocks[last] = append(p.blocks[last], some...)
		b = b[len(some):]
	}
	return n, nil
}

// Read keeps the bytes, for another Read after a Seek.
func (p *pages) Read(b []byte) (int, error) {
	at := p.read / pageBlock
	if at >= len(p.blocks) || p.read%pageBlock >= len(p.blocks[at]) {
		return 0, io.EOF
	}
	n := copy(b, p.blocks[at][p.read%pageBlock:])
	p.read += n
	return n, nil
}

// Seek goes to the beginning only.
func (p *pages) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekStart {
		return 0, errors.New("parquet: pages are read from their beginning only")
	}
	p.read = 0
	return 0, nil
}

// WriteTo writes the bytes, and frees them.
func (p *pages) WriteTo(w io.Writer) (n int64, err error) {
	if p.read > 0 {
		return 0, errors.New("parquet: pages are written from their beginning only")
	}
	for i := range p.blocks {
		some, err := w.Write(p.blocks[i])
		n += int64(some)
		if err != nil {
			return n, err
		}
		p.blocks[i] = nil
	}
	p.blocks = nil
	return n, nil
}
