package segment

import "os"

const (
	LeafPageSize  = 4096
	LeafPages     = 4         // most pages of a leaf; a commit's last leaves may have fewer
	WideLeafPages = 32        // most pages of a leaf in a large commit: bbolt writes each leaf by itself
	WideFrom      = 256 << 10 // a commit is large while at least so many bytes are to follow
	LeafHeader    = 16        // bytes of a page's header
	LeafElement   = 16 + 8    // bytes of a block's element in a leaf, with its key
)

// LeafEnd is the last leaf of a segment's blocks. bbolt keeps up to four large values in it and writes them again with
// the next commit.
type LeafEnd struct {
	tail   [4]int // the lengths of the last blocks
	Blocks int    // the blocks in the last leaf once bbolt splits it,
	bytes  int    // and their bytes there
}

// Add adds a block. bbolt splits a leaf after the second block, or after as many blocks as fit into one page.
func (e *LeafEnd) Add(length int) {
	copy(e.tail[:], e.tail[1:])
	e.tail[len(e.tail)-1] = length
	if e.Blocks >= 2 && e.bytes+LeafElement+length > LeafPageSize {
		e.Blocks, e.bytes = 0, 0
	}
	if e.Blocks == 0 {
		e.bytes = LeafHeader
	}
	e.Blocks++
	e.bytes += LeafElement + length
}

// Last returns the length of the last block.
func (e *LeafEnd) Last() int { return e.tail[len(e.tail)-1] }

// Size returns the most bytes that writing the last leaf again takes, with the pages above it.
func (e *LeafEnd) Size() (n int64) {
	for _, length := range e.tail {
		n += int64(length)
	}
	return n + 4*int64(os.Getpagesize())
}
