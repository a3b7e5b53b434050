package parquet

// blockSize is the size of an arena's block. An event that is larger gets a block of its own.
const blockSize = 256 << 10

// arena holds the bytes of the buffered events in blocks, so that it never copies them to grow, and has no more blocks
// than the events need.
type arena struct {
	blocks [][]byte // used from the front; full ones have their bytes, the rest are empty
	at     int      // the block in use
}

// grow returns an empty slice with at least n bytes of capacity at the end of the arena. commit takes it back.
func (a *arena) grow(n int) []byte {
	for ; a.at < len(a.blocks); a.at++ {
		if b := a.blocks[a.at]; cap(b)-len(b) >= n {
			return b[len(b):len(b):cap(b)]
		}
	}
	a.blocks = append(a.blocks, make([]byte, 0, max(n, blockSize)))
	return a.blocks[a.at]
}

// commit keeps the bytes of b, which grow returned and the caller appended to.
func (a *arena) commit(b []byte) {
	block := &a.blocks[a.at]
	*block = (*block)[:len(*block)+len(b)]
}

// keptBlocks is the number of blocks that an empty arena keeps.
const keptBlocks = 8

// reset empties the arena. It keeps a few blocks, none of them of a large event.
func (a *arena) reset() {
	kept := a.blocks[:0]
	for _, b := range a.blocks {
		if cap(b) == blockSize && len(kept) < keptBlocks {
			kept = append(kept, b[:0])
		}
	}
	clear(a.blocks[len(kept):])
	a.blocks, a.at = kept, 0
}
