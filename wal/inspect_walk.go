package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// leafOf returns the leaf of a bucket where key is, or would be; of the bucket of buckets when name
// is nil. leaf is nil when there is no such bucket. after: see snapshot.leaf.
func (f *boltFile) leafOf(ctx context.Context, name, key []byte) (leaf *page, after []byte, err error) {
	err = f.sound(ctx, func(s *snapshot) (err error) {
		leaf, after, err = s.leafOf(name, key)
		return err
	})
	return leaf, after, err
}

func (s *snapshot) leafOf(name, key []byte) (leaf *page, after []byte, err error) {
	t := &tree{root: s.root}
	if name != nil {
		if t, err = s.bucket(name); t == nil || err != nil {
			return nil, nil, err
		}
	}
	return s.leaf(t, key)
}

// elements calls visit for every element of a bucket whose key begins with prefix, in order, a
// leaf at a time. What can't be read is told to bad and passed over.
func (f *boltFile) elements(ctx context.Context, name, prefix []byte, visit func(e element) error, bad func(*CorruptError)) error {
	for key := prefix; ; {
		leaf, after, err := f.leafOf(ctx, name, key)
		if err := tellCorrupt(err, bad); err != nil {
			return err
		}
		if err := visitFrom(leaf, key, prefix, visit); err != nil {
			return err
		}
		if after == nil || !bytes.HasPrefix(after, prefix) {
			return nil
		}
		key = after
	}
}

func visitFrom(leaf *page, key, prefix []byte, visit func(e element) error) error {
	if leaf == nil {
		return nil
	}
	for _, e := range leaf.elements {
		if bytes.Compare(e.key, key) < 0 || !bytes.HasPrefix(e.key, prefix) {
			continue
		}
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

// streams returns the names of the streams that the segment has blocks of, in order.
func (f *boltFile) streams(ctx context.Context, bad func(*CorruptError)) (names []string, err error) {
	err = f.elements(ctx, nil, streamPrefix, func(e element) error {
		names = append(names, string(e.key[len(streamPrefix):]))
		return nil
	}, bad)
	return names, err
}

// unknownEnd is where a stream ends in a segment whose last block can't be read.
const unknownEnd = math.MaxUint64

// ends returns the offsets that the segment holds of the stream now: 0 for a beginning, and
// unknownEnd for an end, that can't be read. An empty run: nothing.
func (f *boltFile) ends(ctx context.Context, stream string) (ends Run, err error) {
	err = f.sound(ctx, func(s *snapshot) error {
		ends = Run{0, unknownEnd}
		leaf, _, err := s.leafOf(streamBucket(stream), offsetKey(0))
		if err == nil && (leaf == nil || len(leaf.elements) == 0) {
			ends = Run{}
			return nil
		}
		if err == nil && len(leaf.elements[0].key) == 8 {
			ends.First = binary.BigEndian.Uint64(leaf.elements[0].key)
		}
		last, err := s.lastBlock(stream)
		if err == nil {
			ends.Next = last.next()
		}
		return ignoreCorrupt(err)
	})
	return ends, err
}

// asCorrupt returns the damage that err tells of, or nil.
func asCorrupt(err error) *CorruptError {
	corrupt := (*CorruptError)(nil)
	errors.As(err, &corrupt)
	return corrupt
}

// ignoreCorrupt is for what another reader meets again, and tells.
func ignoreCorrupt(err error) error {
	if asCorrupt(err) != nil {
		return nil
	}
	return err
}

// tellCorrupt tells damage to bad, and returns every other error.
func tellCorrupt(err error, bad func(*CorruptError)) error {
	if corrupt := asCorrupt(err); corrupt != nil {
		bad(corrupt)
		return nil
	}
	return err
}

// lastBlock returns the last block of a stream that has one.
func (s *snapshot) lastBlock(stream string) (block, error) {
	leaf, _, err := s.leafOf(streamBucket(stream), offsetKey(math.MaxUint64))
	if err != nil {
		return block{}, err
	}
	if leaf == nil || len(leaf.elements) == 0 {
		return block{}, s.file.corrupt("stream %q has no block", stream)
	}
	e := leaf.elements[len(leaf.elements)-1]
	b, fault := peekBlock(stream, e.key, e.value)
	if fault != "" {
		return b, &CorruptError{s.file.path, stream, b.first, fault}
	}
	return b, nil
}

// blockWalk goes through a stream's blocks in one segment, also while that is being written.
type blockWalk struct {
	file   *boltFile
	stream string
	next   uint64 // the first offset that is still to be visited; 0: wherever the stream begins
	end    uint64 // where to stop
	// visit is called for every block in order; the first may begin before next. Its bytes belong to
	// visit. A faultyBlock that it returns is told to bad.
	visit func(b *block) error
	bad   func(lost Run, why *CorruptError) // told what can't be read

	seek    uint64 // the key to go on at
	started bool   // seek is where an earlier leaf ended
}

// faultyBlock is a block whose sum is right and whose content is not.
type faultyBlock string

func (f faultyBlock) Error() string { return string(f) }

func (w *blockWalk) run(ctx context.Context) error {
	w.seek = w.next
	giveUp := time.Now().Add(soundFor)
	for w.next < w.end {
		moved, err := w.step()
		if err != nil {
			return err
		}
		if moved {
			giveUp = time.Now().Add(soundFor)
		}
		if err := w.file.tired(ctx, giveUp); err != nil {
			return err
		}
	}
	return nil
}

// step reads one leaf. A block whose sum is right is the right one even if its page was no longer
// sound: that is how large blocks are read while small ones are being committed.
func (w *blockWalk) step() (moved bool, err error) {
	var leaf *page
	var after []byte
	held, err := w.file.try(func(s *snapshot) (err error) {
		leaf, after, err = s.leafOf(streamBucket(w.stream), offsetKey(w.seek))
		return err
	})
	switch corrupt := asCorrupt(err); {
	case held && corrupt != nil:
		w.lose(w.next, w.offsetOf(after), corrupt.Reason)
	case held && err != nil:
		return false, err
	case held:
		return true, w.take(leaf, w.offsetOf(after))
	case err == nil:
		return w.takeGood(leaf)
	}
	return held, nil
}

// offsetOf returns the offset where what comes after a leaf begins, which is the end after the last.
func (w *blockWalk) offsetOf(after []byte) uint64 {
	if len(after) != 8 {
		return w.end
	}
	return binary.BigEndian.Uint64(after)
}

// take visits the blocks of a sound leaf; what follows begins at after.
func (w *blockWalk) take(leaf *page, after uint64) error {
	elements := w.unseen(leaf)
	for i, e := range elements {
		until := after
		if i+1 < len(elements) && len(elements[i+1].key) == 8 {
			until = binary.BigEndian.Uint64(elements[i+1].key)
		}
		if err := w.takeBlock(e, until); err != nil || w.next >= w.end {
			return err
		}
	}
	w.seek, w.started = after, true
	if after < w.end {
		return nil
	}
	if w.end != unknownEnd {
		w.lose(w.next, w.end, "the blocks up to the end are missing")
	}
	w.next = w.end
	return nil
}

// unseen returns the leaf's elements without those that have been visited.
func (w *blockWalk) unseen(leaf *page) []element {
	if leaf == nil || len(leaf.elements) == 0 {
		return nil
	}
	i := leaf.find(offsetKey(w.seek))
	if w.started && bytes.Compare(leaf.elements[i].key, offsetKey(w.seek)) < 0 {
		i++
	}
	return leaf.elements[i:]
}

// takeBlock visits the block, or tells what is wrong with it. The block after it begins at until.
func (w *blockWalk) takeBlock(e element, until uint64) error {
	b, fault := parseBlock(w.stream, e.key, e.value)
	switch {
	case fault != "":
		w.lose(max(b.first, w.next), until, fault)
		return nil
	case !w.started && b.next() <= w.next:
		return nil
	case w.started && b.first < w.next:
		w.tell(Run{}, b.first, fmt.Sprintf("it begins before %d, where the block before it ended", w.next))
		return nil
	case w.next > 0 && b.first > w.next:
		w.lose(w.next, b.first, fmt.Sprintf("the blocks before %d are missing", b.first))
	}
	w.started = true
	err := w.visit(&b)
	if faulty := faultyBlock(""); errors.As(err, &faulty) {
		w.tell(Run{b.first, b.next()}, b.first, string(faulty))
		err = nil
	}
	w.next = b.next()
	w.seek = w.next
	return err
}

// takeGood visits the blocks of a leaf that may not be sound for as long as each is good and
// continues the one before.
func (w *blockWalk) takeGood(leaf *page) (moved bool, err error) {
	for _, e := range w.unseen(leaf) {
		b, fault := parseBlock(w.stream, e.key, e.value)
		if fault != "" || b.first != w.next || w.next >= w.end {
			break
		}
		if err := w.takeBlock(e, b.next()); err != nil {
			return true, err
		}
		moved = true
	}
	return moved, nil
}

// lose gives up the offsets [first, next) and goes on behind them.
func (w *blockWalk) lose(first, next uint64, why string) {
	next = min(max(next, first), w.end)
	w.tell(Run{first, next}, first, why)
	w.next, w.seek, w.started = next, next, true
}

func (w *blockWalk) tell(lost Run, offset uint64, why string) {
	w.bad(lost, &CorruptError{w.file.path, w.stream, offset, why})
}
