package segment

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/recent"
)

// BlockWalk visits the blocks of one segment in order, also while the segment is being written.
type BlockWalk struct {
	File *Pages
	// Visit is called for every block, whose bytes it may keep. If it returns a FaultyBlock, Bad is called for the
	// block and the walk continues.
	Visit func(b *Block) error
	Bad   func(lost LostBlocks, why *CorruptError) // called for blocks that cannot be read

	seek uint64 // the number of the next block
	end  uint64 // the number to stop before
}

// LostBlocks are blocks that cannot be read.
type LostBlocks struct {
	Numbers Run
	Of      Block // set if it is one block whose header can be read
}

// FaultyBlock is the fault of a block whose checksums are right and whose content is not.
type FaultyBlock string

func (f FaultyBlock) Error() string { return string(f) }

// UnknownEnd is the end of the blocks in a segment whose last block cannot be read.
const UnknownEnd = math.MaxUint64

// Run visits all blocks that are in the segment when it begins.
func (w *BlockWalk) Run(ctx context.Context) (err error) {
	if w.end, err = w.File.endOfBlocks(ctx); err != nil {
		return err
	}
	w.seek = 1
	giveUp := time.Now().Add(boltpage.SoundFor)
	for w.seek < w.end {
		moved, err := w.step()
		if err != nil {
			return err
		}
		if moved {
			giveUp = time.Now().Add(boltpage.SoundFor)
		}
		if err := w.File.Expired(ctx, giveUp); err != nil {
			return err
		}
	}
	return nil
}

// endOfBlocks returns the number after the last block's; UnknownEnd if that cannot be read.
func (f *Pages) endOfBlocks(ctx context.Context) (end uint64, err error) {
	err = f.Sound(ctx, func(s *boltpage.Snapshot) error {
		end, err = EndOfBlocks(s)
		return IgnoreCorrupt(err)
	})
	return end, err
}

// EndOfBlocks returns the number after the last block's, from the bucket's sequence if that is set and the last block is in the bucket.
func EndOfBlocks(s *boltpage.Snapshot) (uint64, error) {
	kept, err := recent.Read(s)
	if err != nil {
		return UnknownEnd, err
	}
	pending, err := s.Overlaid(string(BucketBlocks))
	if err != nil {
		return UnknownEnd, err
	}
	if kept = append(kept, pending...); len(kept) > 0 {
		return binary.BigEndian.Uint64(kept[len(kept)-1].Key) + 1, nil
	}
	if t, err := s.Bucket(BucketBlocks); err == nil && t != nil && t.Sequence > 0 {
		return t.Sequence + 1, nil
	}
	leaf, _, err := recent.LeafOf(s, BucketBlocks, NumberKey(math.MaxUint64))
	if err != nil || leaf == nil {
		return UnknownEnd, err
	}
	if len(leaf.Elements) == 0 {
		return 1, nil
	}
	key := leaf.Elements[len(leaf.Elements)-1].Key
	if len(key) != 8 {
		return UnknownEnd, s.Corrupt("the last block has a key of %d bytes", len(key))
	}
	return binary.BigEndian.Uint64(key) + 1, nil
}

// step reads one leaf. A block whose checksums are right is good even if its page is no longer sound. So large blocks
// can be read while small ones are being committed.
func (w *BlockWalk) step() (moved bool, err error) {
	var leaf *boltpage.Page
	var after []byte
	held, err := w.File.Try(func(s *boltpage.Snapshot) (err error) {
		leaf, after, err = recent.LeafOf(s, BucketBlocks, NumberKey(w.seek))
		return err
	})
	switch corrupt := AsCorrupt(err); {
	case held && corrupt != nil:
		w.lose(w.numberOf(after), corrupt.Reason)
		return true, nil
	case held && err != nil:
		return false, err
	case held:
		return true, w.take(leaf, w.numberOf(after))
	case err == nil:
		return w.takeGood(leaf)
	}
	return held, nil
}

// numberOf returns the number of the first block after a leaf, by that block's key. After the last leaf it returns the
// end.
func (w *BlockWalk) numberOf(after []byte) uint64 {
	if len(after) != 8 {
		return w.end
	}
	return binary.BigEndian.Uint64(after)
}

// take visits the blocks of a sound leaf. after is the number of the first block in the next leaf.
func (w *BlockWalk) take(leaf *boltpage.Page, after uint64) error {
	if leaf == nil {
		w.lose(after, "the bucket of the blocks is missing")
		return nil
	}
	elements := w.unseen(leaf)
	for i, e := range elements {
		until := after
		if i+1 < len(elements) {
			until = w.numberOf(elements[i+1].Key)
		}
		if err := w.takeBlock(e, until); err != nil || w.seek >= w.end {
			return err
		}
	}
	if after >= w.end && w.end != UnknownEnd && w.seek < w.end {
		w.lose(w.end, "the blocks up to the end are missing")
	}
	w.seek = after
	return nil
}

// unseen returns the leaf's elements from the next block on.
func (w *BlockWalk) unseen(leaf *boltpage.Page) []boltpage.Element {
	if leaf == nil || len(leaf.Elements) == 0 {
		return nil
	}
	i := leaf.Find(NumberKey(w.seek))
	if bytes.Compare(leaf.Elements[i].Key, NumberKey(w.seek)) < 0 {
		i++
	}
	return leaf.Elements[i:]
}

// takeBlock visits the block, or reports its fault. until is the number of the block after it.
func (w *BlockWalk) takeBlock(e boltpage.Element, until uint64) error {
	b, fault := ParseBlock(w.File.Seq, e.Key, e.Value)
	if fault != "" {
		if err := LaterBlock(w.File.Seq, e.Key, e.Value); err != nil {
			fault = err.Error()
		}
		w.seek = max(b.Number, w.seek)
		w.tell(LostBlocks{Run{w.seek, until}, b}, fault)
		w.seek = until
		return nil
	}
	w.seek = b.Number + 1
	err := w.Visit(&b)
	if faulty := FaultyBlock(""); errors.As(err, &faulty) {
		w.tell(LostBlocks{Run{b.Number, b.Number + 1}, b}, string(faulty))
		return nil
	}
	return err
}

// takeGood visits the blocks of a leaf that may not be sound, up to the first block that is bad or does not continue
// the one before.
func (w *BlockWalk) takeGood(leaf *boltpage.Page) (moved bool, err error) {
	for _, e := range w.unseen(leaf) {
		b, fault := ParseBlock(w.File.Seq, e.Key, e.Value)
		if fault != "" || b.Number != w.seek || w.seek >= w.end {
			break
		}
		if err := w.takeBlock(e, b.Number+1); err != nil {
			return true, err
		}
		moved = true
	}
	return moved, nil
}

// lose reports the blocks before next as lost and continues there.
func (w *BlockWalk) lose(next uint64, why string) {
	next = min(max(next, w.seek+1), w.end)
	w.tell(LostBlocks{Numbers: Run{w.seek, next}}, why)
	w.seek = next
}

func (w *BlockWalk) tell(lost LostBlocks, why string) {
	w.Bad(lost, &CorruptError{w.File.Path, lost.Of.Stream, lost.Of.First, fmt.Sprintf("block %d of the segment: %s", lost.Numbers.First, why)})
}
