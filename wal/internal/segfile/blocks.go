package segfile

import (
	"errors"
	"os"
	"slices"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/recent"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// blocks describes the blocks of the newest segment. The writer owns it; any goroutine may read the index.
type blocks struct {
	// index is the index of the newest segment, or a rebuilt one. It is nil if the file has the index.
	index atomic.Pointer[segment.BlockIndex]
	last  uint64          // the number of the last block
	noted uint64          // the number of the last block with notes of producers; 0: there is none
	end   segment.LeafEnd // where the blocks end

	keepsRecent bool          // the segment may have recent blocks; set before the file has a second user
	recent      recent.Blocks // the last blocks, as the last transaction left them,
	nextRecent  recent.Blocks // and as the transaction under way leaves them
}

// Index returns the index that is in memory: of the newest segment, or a rebuilt one; nil: it is in the file.
func (b *blocks) Index() *segment.BlockIndex { return b.index.Load() }

// Stored adds the blocks of a committed transaction to the index, and returns it. end is the end of the blocks now.
func (b *blocks) Stored(values [][]byte, end segment.LeafEnd) *segment.BlockIndex {
	b.end = end
	index := b.index.Load()
	for _, value := range values {
		b.last++
		index.AddValue(value, b.last)
	}
	b.noted = b.lastNoted(b.last, values, b.noted)
	return index
}

// NotedWith returns the number of the last block that has notes of producers, once the blocks are stored; 0: none has.
func (b *blocks) NotedWith(values [][]byte) uint64 {
	return b.lastNoted(b.last+uint64(len(values)), values, b.noted)
}

// lastNoted returns the number of the last value with notes, or noted. last is the number of the last value.
func (b *blocks) lastNoted(last uint64, values [][]byte, noted uint64) uint64 {
	for _, value := range slices.Backward(values) {
		if segment.Noted(value) {
			return last
		}
		last--
	}
	return noted
}

// endsSmall reports whether the last blocks take at most a page. bbolt writes the last leaf again when recent blocks are moved
// behind it, and no estimate counts that. So recent blocks follow small ones only.
func (b *blocks) endsSmall() bool {
	const above = 4 // pages, see LeafEnd.Size
	return b.end.Size() <= (above+1)*int64(os.Getpagesize())
}

// moveRecent moves the recent blocks to the bucket of blocks, which it returns. last is the number of the last one.
func (b *blocks) moveRecent(tx *bolt.Tx, last uint64) (*bolt.Bucket, error) {
	bucket := tx.Bucket(segment.BucketBlocks)
	bucket.FillPercent = 1
	moved := b.nextRecent
	if b.nextRecent = (recent.Blocks{}); moved.Count == 0 {
		return bucket, nil
	}
	return bucket, errors.Join(moved.Move(tx, bucket, last), bucket.SetSequence(last))
}

// Sealed drops the index from memory: a sealed segment has it in its file.
func (b *blocks) Sealed() { b.index.Store(nil) }

// End returns the end of the blocks.
func (b *blocks) End() segment.LeafEnd { return b.end }

// IndexSize returns the bytes that the index will take in the file; 0 if the segment is sealed or has no event.
func (b *blocks) IndexSize() int64 {
	if x := b.index.Load(); x != nil {
		return x.Size.Load()
	}
	return 0
}

// Empty reports whether the newest segment holds no event.
func (b *blocks) Empty() bool { return b.IndexSize() == 0 }

// SealPages estimates the bytes that the bucket of the index takes in addition to the index, with the recent blocks.
const SealPages = 20 << 10

// SealBytes returns the most bytes that sealing takes.
func (b *blocks) SealBytes() int64 { return b.IndexSize()*9/8 + SealPages }
