package wal

import (
	"fmt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
)

// The newest segment is read whole before bbolt may: bbolt walks all pages when it opens a file for writing, in a
// goroutine where a panic or a fault of the memory map would end the process.

// newestBlocks is the result of the check of the blocks.
type newestBlocks struct {
	index *blockIndex
	last  uint64  // the number of the last
	end   leafEnd // where they end
}

// checkSegment verifies every page that bbolt can reach, and that each stream's blocks follow one
// another. Their frames are left to whoever reads them: a damaged event costs its block, not the
// segment. doubtful: one of the two meta pages is bad, so that the last commit may be missing.
func checkSegment(path string, seq uint64) (blocks *newestBlocks, doubtful bool, err error) {
	err = boltpage.View(path, fileFaults{}, func(s *boltpage.Snapshot) error {
		doubtful = s.OneMeta()
		blocks, err = checkContent(s, path, seq)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return blocks, doubtful, nil
}

func checkContent(s *boltpage.Snapshot, path string, seq uint64) (*newestBlocks, error) {
	var blocks *newestBlocks
	state, numbered := false, uint64(0)
	err := s.Check(func(name []byte, sequence uint64) func(boltpage.Element) error {
		switch string(name) {
		case string(bucketBlocks):
			blocks, numbered = &newestBlocks{index: newIndex()}, sequence
			return func(e boltpage.Element) error { return blocks.add(path, seq, e.Key, e.Value) }
		case string(bucketState):
			state = true
		}
		return func(boltpage.Element) error { return nil }
	})
	switch {
	case err != nil:
		return nil, err
	case blocks == nil:
		return nil, s.Corrupt("the bucket blocks is missing")
	case numbered > 0 && blocks.last != numbered:
		return nil, s.Corrupt("the last block is number %d, want %d", blocks.last, numbered)
	case !state:
		return nil, s.Corrupt("the bucket state is missing")
	}
	return blocks, nil
}

// checkPages verifies every page that bbolt can reach of a file that holds no block.
func checkPages(path string) error {
	return boltpage.View(path, fileFaults{}, func(s *boltpage.Snapshot) error {
		return s.Check(func([]byte, uint64) func(boltpage.Element) error { return func(boltpage.Element) error { return nil } })
	})
}

// add checks a block's header and that it continues its stream, and notes it.
func (n *newestBlocks) add(path string, seq uint64, key, value []byte) error {
	b, fault := peekBlock(seq, key, value)
	if fault == "" {
		if next := n.index.span(b.stream).next; next != 0 && b.first != next {
			fault = fmt.Sprintf("the block begins at %d, want %d", b.first, next)
		}
	}
	if fault != "" {
		if err := laterBlock(seq, key, value); err != nil {
			return inFile(path, err)
		}
		return &CorruptError{path, b.stream, b.first, fmt.Sprintf("block %d of the segment: %s", b.number, fault)}
	}
	n.index.add(&b)
	n.last = b.number
	n.end.add(len(value))
	return nil
}
