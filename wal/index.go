package wal

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

// blockIndex tells where each stream's blocks stand in a segment. That of the newest segment is in
// memory, 3 to 4 bytes a block, and goes into the segment when that is sealed.
type blockIndex struct {
	// patched: it was made from the blocks of a segment that has none, and where a stream has a hole
	// a block may be missing.
	patched bool
	size    atomic.Int64 // the bytes that it takes in a segment

	mu      sync.RWMutex
	streams map[string][]indexPart
}

// indexPart is where some blocks of a stream stand that follow one another in it.
type indexPart struct {
	first, next   uint64 // the offsets from the first event to the end
	before, after uint64 // bytes of all payloads appended to the stream before either
	number, last  uint64 // of the first and of the last block
	// blocks has for each block uvarints: the number of its events times two, with one added when
	// events are missing before it; how many; by how much its number is above the last one's.
	blocks []byte
}

// partLength is the length from which a part of the index is complete.
const partLength = 1 << 10

// indexEntry is about the most that a block takes in the index.
const indexEntry = 16

// blockPlace is where a block stands and what it holds.
type blockPlace struct {
	number uint64
	Run
}

func newIndex() *blockIndex { return &blockIndex{streams: make(map[string][]indexPart)} }

// add notes a block, which is after all others of its stream.
func (x *blockIndex) add(b *block) {
	x.mu.Lock()
	defer x.mu.Unlock()
	parts := x.streams[b.stream]
	if n := len(parts); n > 0 && len(parts[n-1].blocks) < partLength {
		x.size.Add(parts[n-1].add(b))
		return
	}
	// The block's own text is a buffer's, and a map takes the key of every assignment, also of one that
	// it has.
	stream := strings.Clone(b.stream)
	p := indexPart{first: b.first, next: b.first, before: b.before, after: b.before, number: b.number, last: b.number}
	x.size.Add(p.add(b) + partOverhead + int64(len(stream)))
	x.streams[stream] = append(parts, p)
}

// addValue notes an encoded block.
func (x *blockIndex) addValue(value []byte, number uint64) {
	var b block
	b.readHeader(value)
	b.number = number
	x.add(&b)
}

// clone returns a copy that grows by itself.
func (x *blockIndex) clone() *blockIndex {
	x.mu.RLock()
	defer x.mu.RUnlock()
	copied := newIndex()
	for stream, parts := range x.streams {
		parts = slices.Clone(parts)
		last := &parts[len(parts)-1]
		last.blocks = bytes.Clone(last.blocks)
		copied.streams[stream] = parts
	}
	return copied
}

// add returns how many bytes longer the part is now.
func (p *indexPart) add(b *block) int64 {
	before := len(p.blocks)
	skipped := b.first - p.next
	if skipped == 0 {
		p.blocks = binary.AppendUvarint(p.blocks, uint64(b.count)<<1)
	} else {
		p.blocks = appendNumbers(p.blocks, uint64(b.count)<<1|1, skipped)
	}
	p.blocks = binary.AppendUvarint(p.blocks, b.number-p.last)
	p.next, p.after, p.last = b.next(), b.before+b.bytes, b.number
	return int64(len(p.blocks) - before)
}

// places returns where the blocks stand that hold events from offset from on.
func (p *indexPart) places(from uint64) iter.Seq[blockPlace] {
	return func(yield func(blockPlace) bool) {
		d := decoder{b: p.blocks}
		at := blockPlace{number: p.number, Run: Run{Next: p.first}}
		for len(d.b) > 0 {
			d.place(&at)
			if d.bad || at.Next > from && !yield(at) {
				return
			}
		}
	}
}

// place reads the place of the block after the one at at.
func (d *decoder) place(at *blockPlace) {
	n := d.number()
	at.First = at.Next
	if n&1 != 0 {
		at.First += d.number()
	}
	at.Next = at.First + n>>1
	at.number += d.number()
}

// part returns the part that has the offset, or the first after it.
func (x *blockIndex) part(stream string, offset uint64) (p indexPart, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	parts := x.streams[stream]
	i := sort.Search(len(parts), func(i int) bool { return parts[i].next > offset })
	if i == len(parts) {
		return p, false
	}
	return parts[i], true
}

// span returns what the blocks hold of a stream; zeros: nothing.
func (x *blockIndex) span(stream string) (sp span) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if parts := x.streams[stream]; len(parts) > 0 {
		first, last := &parts[0], &parts[len(parts)-1]
		sp = span{first.first, last.next, first.before, last.after}
	}
	return sp
}

// spans returns what the blocks hold of each stream.
func (x *blockIndex) spans() map[string]span {
	spans := make(map[string]span)
	for stream := range x.streams {
		spans[stream] = x.span(stream)
	}
	return spans
}

// each calls f for every part in the order of the keys that they have in a segment.
func (x *blockIndex) each(f func(key []byte, p *indexPart) error) error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	names := sortedKeys(x.streams)
	slices.SortStableFunc(names, func(a, b string) int { return strings.Compare(partPrefix(a), partPrefix(b)) })
	for _, name := range names {
		for i := range x.streams[name] {
			p := &x.streams[name][i]
			if err := f(partKey(name, p.first), p); err != nil {
				return err
			}
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// all returns the places of all blocks of a stream.
func (x *blockIndex) all(stream string) (all []blockPlace) {
	for i := range x.streams[stream] {
		all = slices.AppendSeq(all, x.streams[stream][i].places(0))
	}
	return all
}
