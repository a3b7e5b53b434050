package wal

import (
	"context"
	"errors"
	"fmt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
)

// index reads the segment's index; nil when it has none.
func (f *segmentPages) index(ctx context.Context) (x *blockIndex, err error) {
	x = newIndex()
	var corrupt *CorruptError
	spans := make(map[string]span)
	err = f.Elements(ctx, bucketIndex, []byte{}, func(e boltpage.Element) error {
		stream, p, err := decodePart(f.seq, e.Key, e.Value)
		if err == nil {
			err = addPart(spans, stream, &p)
		}
		if err != nil {
			return f.fault(err)
		}
		x.streams[stream] = append(x.streams[stream], p)
		return nil
	}, pass(func(why *CorruptError) { corrupt = why }))
	switch {
	case err != nil:
		return nil, err
	case corrupt != nil:
		return nil, f.corrupt("the index: %s", corrupt.Reason)
	case len(x.streams) == 0:
		return nil, nil
	}
	return x, nil
}

// indexBlocks makes an index from the blocks. What can't be read is told to bad and left out.
func (f *segmentPages) indexBlocks(ctx context.Context, bad func(*CorruptError), visit func(b *block)) (*blockIndex, error) {
	x := newIndex()
	w := blockWalk{file: f, bad: func(_ lostBlocks, why *CorruptError) { bad(why) }}
	w.visit = func(b *block) error {
		if next := x.span(b.stream).next; b.first < next {
			return faultyBlock(fmt.Sprintf("it begins at %d, before %d, where the block before it ended", b.first, next))
		}
		x.add(b)
		visit(b)
		return nil
	}
	return x, w.run(ctx)
}

// spans returns what the segment holds of each stream.
func (f *segmentPages) spans(ctx context.Context, bad func(*CorruptError)) (map[string]span, error) {
	x, err := f.index(ctx)
	if err := tellCorrupt(err, bad); err != nil {
		return nil, err
	}
	if x == nil {
		if x, err = f.indexBlocks(ctx, bad, func(*block) {}); err != nil {
			return nil, err
		}
	}
	return x.spans(), nil
}

// indexOfFile makes the index of a sealed segment from its blocks. A segment in which no good block is
// found beside bad ones is corrupt.
func indexOfFile(path string, seq uint64) (x *blockIndex, err error) {
	f, err := openBoltFile(path)
	if err != nil {
		return nil, err
	}
	f.seq = seq
	defer func() { err = errors.Join(err, f.Close()) }()
	var corrupt *CorruptError
	x, err = f.indexBlocks(context.Background(), func(why *CorruptError) { corrupt = why }, func(*block) {})
	switch {
	case err != nil:
		return nil, err
	case corrupt != nil && len(x.streams) == 0:
		return nil, corrupt
	}
	x.patched = true
	return x, nil
}
