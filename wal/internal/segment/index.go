package segment

import (
	"bytes"
	"encoding/binary"
	"iter"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// BlockIndex lists the blocks of each stream in a segment. The index of the newest segment is in memory, with 2 to 4
// bytes a block, and is written into the segment when that is sealed.
type BlockIndex struct {
	// Patched: the index was made from the blocks of a segment without a good index. At a gap between a stream's
	// blocks, a block may be missing.
	Patched bool
	Size    atomic.Int64 // the bytes that the index takes in a segment

	mu      sync.RWMutex
	Streams map[string][]IndexPart
}

// IndexPart lists consecutive blocks of one stream.
type IndexPart struct {
	First, Next   uint64 // the offsets [First, Next)
	before, after uint64 // bytes of all payloads appended to the stream before First and before Next
	number, Last  uint64 // of the first and of the last block
	// blocks has uvarints for each block: twice its number of events, plus one if events are missing before it; then,
	// in that case, how many; then its number minus that of the block before it, which is 0 for the first.
	blocks []byte
}

// partLength is the number of bytes from which on a part of the index is complete.
const partLength = 1 << 10

// indexEntry is about the most bytes that a block takes in the index.
const indexEntry = 16

// BlockPlace is a block's number and its run of offsets.
type BlockPlace struct {
	Number uint64
	Run
}

// NewIndex returns an index without blocks.
func NewIndex() *BlockIndex { return &BlockIndex{Streams: make(map[string][]IndexPart)} }

// Add adds a block, which must come after all other blocks of its stream.
func (x *BlockIndex) Add(b *Block) {
	x.mu.Lock()
	defer x.mu.Unlock()
	parts := x.Streams[b.Stream]
	if n := len(parts); n > 0 && len(parts[n-1].blocks) < partLength {
		x.Size.Add(parts[n-1].add(b))
		return
	}
	// b.Stream lies in a buffer, and an assignment to a map stores its key even if the map has an equal one. So the
	// key must be a copy.
	stream := strings.Clone(b.Stream)
	p := IndexPart{First: b.First, Next: b.First, before: b.Before, after: b.Before, number: b.Number, Last: b.Number}
	x.Size.Add(p.add(b) + PartOverhead + int64(len(stream)))
	x.Streams[stream] = append(parts, p)
}

// AddValue adds an encoded block.
func (x *BlockIndex) AddValue(value []byte, number uint64) {
	var b Block
	b.readHeader(value)
	b.Number = number
	x.Add(&b)
}

// Clone returns a copy that does not change when blocks are added to x.
func (x *BlockIndex) Clone() *BlockIndex {
	x.mu.RLock()
	defer x.mu.RUnlock()
	copied := NewIndex()
	for stream, parts := range x.Streams {
		parts = slices.Clone(parts)
		last := &parts[len(parts)-1]
		last.blocks = bytes.Clone(last.blocks)
		copied.Streams[stream] = parts
	}
	return copied
}

// add adds a block to the part, and returns the number of bytes that this takes.
func (p *IndexPart) add(b *Block) int64 {
	before := len(p.blocks)
	skipped := b.First - p.Next
	if skipped == 0 {
		p.blocks = binary.AppendUvarint(p.blocks, uint64(b.Count)<<1)
	} else {
		p.blocks = AppendNumbers(p.blocks, uint64(b.Count)<<1|1, skipped)
	}
	p.blocks = binary.AppendUvarint(p.blocks, b.Number-p.Last)
	p.Next, p.after, p.Last = b.Next(), b.Before+b.Bytes, b.Number
	return int64(len(p.blocks) - before)
}

// Places returns the blocks that hold events at or beyond the offset from.
func (p *IndexPart) Places(from uint64) iter.Seq[BlockPlace] {
	return func(yield func(BlockPlace) bool) {
		d := Decoder{Rest: p.blocks}
		at := BlockPlace{Number: p.number, Run: Run{Next: p.First}}
		for len(d.Rest) > 0 {
			d.place(&at)
			if d.Bad || at.Next > from && !yield(at) {
				return
			}
		}
	}
}

// place reads the entry of the block after at.
func (d *Decoder) place(at *BlockPlace) {
	n := d.Number()
	at.First = at.Next
	if n&1 != 0 {
		at.First += d.Number()
	}
	at.Next = at.First + n>>1
	at.Number += d.Number()
}

// Part returns the part that has the offset, or else the first part after it.
func (x *BlockIndex) Part(stream string, offset uint64) (p IndexPart, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	parts := x.Streams[stream]
	i := sort.Search(len(parts), func(i int) bool { return parts[i].Next > offset })
	if i == len(parts) {
		return p, false
	}
	return parts[i], true
}

// Span returns the span of a stream's blocks; zeros: it has none.
func (x *BlockIndex) Span(stream string) (sp Span) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if parts := x.Streams[stream]; len(parts) > 0 {
		first, last := &parts[0], &parts[len(parts)-1]
		sp = Span{first.First, last.Next, first.before, last.after}
	}
	return sp
}

// Spans returns the span of each stream's blocks.
func (x *BlockIndex) Spans() map[string]Span {
	spans := make(map[string]Span)
	for stream := range x.Streams {
		spans[stream] = x.Span(stream)
	}
	return spans
}

// Each calls f for every part, in the order of the parts' keys in a segment.
func (x *BlockIndex) Each(f func(key []byte, p *IndexPart) error) error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	names := SortedKeys(x.Streams)
	slices.SortStableFunc(names, func(a, b string) int { return strings.Compare(partPrefix(a), partPrefix(b)) })
	for _, name := range names {
		for i := range x.Streams[name] {
			p := &x.Streams[name][i]
			if err := f(PartKey(name, p.First), p); err != nil {
				return err
			}
		}
	}
	return nil
}

// SortedKeys returns the keys of m in order.
func SortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// All returns all blocks of a stream.
func (x *BlockIndex) All(stream string) (all []BlockPlace) {
	for i := range x.Streams[stream] {
		all = slices.AppendSeq(all, x.Streams[stream][i].Places(0))
	}
	return all
}
