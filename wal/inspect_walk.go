package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
)

// blockWalk goes through the blocks of one segment in order, also while that is being written.
type blockWalk struct {
	file *segmentPages
	// visit is called for every block. Its bytes belong to visit. A faultyBlock that it returns is told
	// to bad.
	visit func(b *block) error
	bad   func(lost lostBlocks, why *CorruptError) // told what can't be read

	seek uint64 // the number to go on at
	end  uint64 // and where to stop
}

// lostBlocks is what can't be read.
type lostBlocks struct {
	numbers Run
	of      block // when it is one block whose header can be read; otherwise nothing
}

// faultyBlock is a block whose sum is right and whose content is not.
type faultyBlock string

func (f faultyBlock) Error() string { return string(f) }

// unknownEnd is where the blocks end in a segment whose last one can't be read.
const unknownEnd = math.MaxUint64

// run visits all blocks that there are when it begins.
func (w *blockWalk) run(ctx context.Context) (err error) {
	if w.end, err = w.file.endOfBlocks(ctx); err != nil {
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
		if err := w.file.Expired(ctx, giveUp); err != nil {
			return err
		}
	}
	return nil
}

// endOfBlocks returns the number after the last block's.
func (f *segmentPages) endOfBlocks(ctx context.Context) (end uint64, err error) {
	err = f.Sound(ctx, func(s *boltpage.Snapshot) error {
		end, err = endOfBlocks(s)
		return ignoreCorrupt(err)
	})
	return end, err
}

// endOfBlocks returns the number after the last block's, by the bucket's sequence where it has one.
func endOfBlocks(s *boltpage.Snapshot) (uint64, error) {
	if t, err := s.Bucket(bucketBlocks); err == nil && t != nil && t.Sequence > 0 {
		return t.Sequence + 1, nil
	}
	leaf, _, err := s.LeafOf(bucketBlocks, numberKey(math.MaxUint64))
	if err != nil || leaf == nil {
		return unknownEnd, err
	}
	if len(leaf.Elements) == 0 {
		return 1, nil
	}
	key := leaf.Elements[len(leaf.Elements)-1].Key
	if len(key) != 8 {
		return unknownEnd, s.Corrupt("the last block has a key of %d bytes", len(key))
	}
	return binary.BigEndian.Uint64(key) + 1, nil
}

// step reads one leaf. A block whose sum is right is the right one even if its page was no longer
// sound: that is how large blocks are read while small ones are being committed.
func (w *blockWalk) step() (moved bool, err error) {
	var leaf *boltpage.Page
	var after []byte
	held, err := w.file.Try(func(s *boltpage.Snapshot) (err error) {
		leaf, after, err = s.LeafOf(bucketBlocks, numberKey(w.seek))
		return err
	})
	switch corrupt := asCorrupt(err); {
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

// numberOf returns the number where what comes after a leaf begins, which is the end after the last.
func (w *blockWalk) numberOf(after []byte) uint64 {
	if len(after) != 8 {
		return w.end
	}
	return binary.BigEndian.Uint64(after)
}

// take visits the blocks of a sound leaf; what follows begins at after.
func (w *blockWalk) take(leaf *boltpage.Page, after uint64) error {
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
	if after >= w.end && w.end != unknownEnd && w.seek < w.end {
		w.lose(w.end, "the blocks up to the end are missing")
	}
	w.seek = after
	return nil
}

// unseen returns the leaf's elements without those that have been visited.
func (w *blockWalk) unseen(leaf *boltpage.Page) []boltpage.Element {
	if leaf == nil || len(leaf.Elements) == 0 {
		return nil
	}
	i := leaf.Find(numberKey(w.seek))
	if bytes.Compare(leaf.Elements[i].Key, numberKey(w.seek)) < 0 {
		i++
	}
	return leaf.Elements[i:]
}

// takeBlock visits the block, or tells what is wrong with it. The block after it begins at until.
func (w *blockWalk) takeBlock(e boltpage.Element, until uint64) error {
	b, fault := parseBlock(w.file.seq, e.Key, e.Value)
	if fault != "" {
		if err := laterBlock(w.file.seq, e.Key, e.Value); err != nil {
			fault = err.Error()
		}
		w.seek = max(b.number, w.seek)
		w.tell(lostBlocks{Run{w.seek, until}, b}, fault)
		w.seek = until
		return nil
	}
	w.seek = b.number + 1
	err := w.visit(&b)
	if faulty := faultyBlock(""); errors.As(err, &faulty) {
		w.tell(lostBlocks{Run{b.number, b.number + 1}, b}, string(faulty))
		return nil
	}
	return err
}

// takeGood visits the blocks of a leaf that may not be sound for as long as each is good and
// continues the one before.
func (w *blockWalk) takeGood(leaf *boltpage.Page) (moved bool, err error) {
	for _, e := range w.unseen(leaf) {
		b, fault := parseBlock(w.file.seq, e.Key, e.Value)
		if fault != "" || b.number != w.seek || w.seek >= w.end {
			break
		}
		if err := w.takeBlock(e, b.number+1); err != nil {
			return true, err
		}
		moved = true
	}
	return moved, nil
}

// lose gives up what lies before next and goes on there.
func (w *blockWalk) lose(next uint64, why string) {
	next = min(max(next, w.seek+1), w.end)
	w.tell(lostBlocks{numbers: Run{w.seek, next}}, why)
	w.seek = next
}

func (w *blockWalk) tell(lost lostBlocks, why string) {
	w.bad(lost, &CorruptError{w.file.Path, lost.of.stream, lost.of.first, fmt.Sprintf("block %d of the segment: %s", lost.numbers.First, why)})
}
