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

// BlockIndex tells where each stream's blocks stand in a segment. That of the newest segment is in
// memory, 3 to 4 bytes a block, and goes into the segment when that is sealed.
type BlockIndex struct {
	// Patched: it was made from the blocks of a segment that has none, and where a stream has a hole
	// a block may be missing.
	Patched bool
	Size    atomic.Int64 // the bytes that it takes in a segment

	mu      sync.RWMutex
	Streams map[string][]IndexPart
}

// IndexPart is where some blocks of a stream stand that follow one another in it.
type IndexPart struct {
	First, Next   uint64 // the offsets from the first event to the end
	before, after uint64 // bytes of all payloads appended to the stream before either
	number, Last  uint64 // of the first and of the last block
	// blocks has for each block uvarints: the number of its events times two, with one added when
	// events are missing before it; how many; by how much its number is above the last one's.
	blocks []byte
}

// partLength is the length from which a part of the index is complete.
const partLength = 1 << 10

// indexEntry is about the most that a block takes in the index.
const indexEntry = 16

// BlockPlace is where a block stands and what it holds.
type BlockPlace struct {
	Number uint64
	Run
}

// NewIndex returns an index without blocks.
func NewIndex() *BlockIndex { return &BlockIndex{Streams: make(map[string][]IndexPart)} }

// Add notes a block, which is after all others of its stream.
func (x *BlockIndex) Add(b *Block) {
	x.mu.Lock()
	defer x.mu.Unlock()
	parts := x.Streams[b.Stream]
	if n := len(parts); n > 0 && len(parts[n-1].blocks) < partLength {
		x.Size.Add(parts[n-1].add(b))
		return
	}
	// The block's own text is a buffer's, and a map takes the key of every assignment, also of one that
	// it has.
	stream := strings.Clone(b.Stream)
	p := IndexPart{First: b.First, Next: b.First, before: b.Before, after: b.Before, number: b.Number, Last: b.Number}
	x.Size.Add(p.add(b) + PartOverhead + int64(len(stream)))
	x.Streams[stream] = append(parts, p)
}

// AddValue notes an encoded block.
func (x *BlockIndex) AddValue(value []byte, number uint64) {
	var b Block
	b.readHeader(value)
	b.Number = number
	x.Add(&b)
}

// Clone returns a copy that grows by itself.
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

// add returns how many bytes longer the part is now.
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

// Places returns where the blocks stand that hold events from offset from on.
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

// place reads the place of the block after the one at at.
func (d *Decoder) place(at *BlockPlace) {
	n := d.Number()
	at.First = at.Next
	if n&1 != 0 {
		at.First += d.Number()
	}
	at.Next = at.First + n>>1
	at.Number += d.Number()
}

// Part returns the part that has the offset, or the first after it.
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

// Span returns what the blocks hold of a stream; zeros: nothing.
func (x *BlockIndex) Span(stream string) (sp Span) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if parts := x.Streams[stream]; len(parts) > 0 {
		first, last := &parts[0], &parts[len(parts)-1]
		sp = Span{first.First, last.Next, first.before, last.after}
	}
	return sp
}

// Spans returns what the blocks hold of each stream.
func (x *BlockIndex) Spans() map[string]Span {
	spans := make(map[string]Span)
	for stream := range x.Streams {
		spans[stream] = x.Span(stream)
	}
	return spans
}

// Each calls f for every part in the order of the keys that they have in a segment.
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

// All returns the places of all blocks of a stream.
func (x *BlockIndex) All(stream string) (all []BlockPlace) {
	for i := range x.Streams[stream] {
		all = slices.AppendSeq(all, x.Streams[stream][i].Places(0))
	}
	return all
}
