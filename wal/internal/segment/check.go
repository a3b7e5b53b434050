package segment

import (
	"fmt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
)

// The newest segment is read whole before bbolt opens it. When bbolt opens a file for writing it walks all pages, in a
// goroutine where a panic or a fault of the memory map would end the process.

// newestBlocks is the result of checking the blocks.
type newestBlocks struct {
	Index *BlockIndex
	Last  uint64  // the number of the last block
	Noted uint64  // the number of the last block with notes of producers; 0: there is none
	End   LeafEnd // the last leaf
}

// CheckSegment verifies every page that bbolt can reach, and that each stream's blocks follow one another. It does not
// check the frames, which their readers do: a damaged event costs its block, not the segment. doubtful: one of the two
// meta pages is bad, so that the last commit may be missing.
func CheckSegment(path string, seq uint64) (blocks *newestBlocks, doubtful bool, err error) {
	err = boltpage.View(path, FileFaults{}, func(s *boltpage.Snapshot) error {
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
		case string(BucketBlocks):
			blocks, numbered = &newestBlocks{Index: NewIndex()}, sequence
			return func(e boltpage.Element) error { return blocks.add(path, seq, e.Key, e.Value) }
		case string(BucketState):
			state = true
		}
		return func(boltpage.Element) error { return nil }
	})
	switch {
	case err != nil:
		return nil, err
	case blocks == nil:
		return nil, s.Corrupt("the bucket blocks is missing")
	case numbered > 0 && blocks.Last != numbered:
		return nil, s.Corrupt("the last block is number %d, want %d", blocks.Last, numbered)
	case !state:
		return nil, s.Corrupt("the bucket state is missing")
	}
	return blocks, nil
}

// CheckPages verifies every page that bbolt can reach of a file that holds no block.
func CheckPages(path string) error {
	return boltpage.View(path, FileFaults{}, func(s *boltpage.Snapshot) error {
		return s.Check(func([]byte, uint64) func(boltpage.Element) error { return func(boltpage.Element) error { return nil } })
	})
}

// add checks a block's header and that the block continues its stream, and adds it.
func (n *newestBlocks) add(path string, seq uint64, key, value []byte) error {
	b, fault := PeekBlock(seq, key, value)
	if fault == "" {
		if next := n.Index.Span(b.Stream).Next; next != 0 && b.First != next {
			fault = fmt.Sprintf("the block begins at %d, want %d", b.First, next)
		}
	}
	if fault != "" {
		if err := LaterBlock(seq, key, value); err != nil {
			return InFile(path, err)
		}
		return &CorruptError{path, b.Stream, b.First, fmt.Sprintf("block %d of the segment: %s", b.Number, fault)}
	}
	n.Index.Add(&b)
	n.Last = b.Number
	if Noted(value) {
		n.Noted = b.Number
	}
	n.End.Add(len(value))
	return nil
}
