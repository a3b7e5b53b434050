package wal

import "os"

const (
	leafPageSize  = 4096
	leafPages     = 4         // of a leaf, unless it is one of a commit's last,
	wideLeafPages = 32        // or of those of a large commit: bbolt writes each leaf by itself
	wideFrom      = 256 << 10 // bytes that are to follow yet make a commit large
	leafHeader    = 16        // of a page
	leafElement   = 16 + 8    // of a block in a leaf, with its key
)

// leafEnd is the last leaf of a segment's blocks. bbolt keeps up to four large values in it and
// writes them again with the next commit.
type leafEnd struct {
	tail   [4]int // the lengths of the last blocks
	blocks int    // how many stand in the last leaf once bbolt splits it,
	bytes  int    // and their bytes there
}

// add notes that a block follows. bbolt splits a leaf after the second block, or after as many as go
// into one page.
func (e *leafEnd) add(length int) {
	copy(e.tail[:], e.tail[1:])
	e.tail[len(e.tail)-1] = length
	if e.blocks >= 2 && e.bytes+leafElement+length > leafPageSize {
		e.blocks, e.bytes = 0, 0
	}
	if e.blocks == 0 {
		e.bytes = leafHeader
	}
	e.blocks++
	e.bytes += leafElement + length
}

// last returns the length of the last block.
func (e *leafEnd) last() int { return e.tail[len(e.tail)-1] }

// size is the most that writing the last leaf again takes, with the pages on the way to it.
func (e *leafEnd) size() (n int64) {
	for _, length := range e.tail {
		n += int64(length)
	}
	return n + 4*int64(os.Getpagesize())
}
