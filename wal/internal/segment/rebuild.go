package segment

import (
	"context"
	"fmt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
)

// Index reads the segment's index. It returns nil if the segment has none.
func (f *Pages) Index(ctx context.Context) (x *BlockIndex, err error) {
	x = NewIndex()
	var corrupt *CorruptError
	spans := make(map[string]Span)
	err = f.Elements(ctx, BucketIndex, []byte{}, func(e boltpage.Element) error {
		stream, p, err := DecodePart(f.Seq, e.Key, e.Value)
		if err == nil {
			err = addPart(spans, stream, &p)
		}
		if err != nil {
			return f.Fault(err)
		}
		x.Streams[stream] = append(x.Streams[stream], p)
		return nil
	}, Pass(func(why *CorruptError) { corrupt = why }))
	switch {
	case err != nil:
		return nil, err
	case corrupt != nil:
		return nil, f.Corrupt("the index: %s", corrupt.Reason)
	case len(x.Streams) == 0:
		return nil, nil
	}
	return x, nil
}

// IndexBlocks makes an index from the blocks, and calls visit for each. Blocks that cannot be read are reported to bad
// and left out.
func (f *Pages) IndexBlocks(ctx context.Context, bad func(*CorruptError), visit func(b *Block)) (*BlockIndex, error) {
	x := NewIndex()
	w := BlockWalk{File: f, Bad: func(_ LostBlocks, why *CorruptError) { bad(why) }}
	w.Visit = func(b *Block) error {
		if next := x.Span(b.Stream).Next; b.First < next {
			return FaultyBlock(fmt.Sprintf("it begins at %d, before %d, where the block before it ended", b.First, next))
		}
		x.Add(b)
		visit(b)
		return nil
	}
	return x, w.Run(ctx)
}

// Spans returns the span of each stream in the segment, from the index or, without a good one, from the blocks. Damage
// is reported to bad.
func (f *Pages) Spans(ctx context.Context, bad func(*CorruptError)) (map[string]Span, error) {
	x, err := f.Index(ctx)
	if err := ReportCorrupt(err, bad); err != nil {
		return nil, err
	}
	if x == nil {
		if x, err = f.IndexBlocks(ctx, bad, func(*Block) {}); err != nil {
			return nil, err
		}
	}
	return x.Spans(), nil
}
