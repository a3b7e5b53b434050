package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// check reads the newest segment whole before bbolt may: bbolt walks all pages when it opens a file
// for writing, in a goroutine where a panic or a fault of the memory map would end the process.
type check struct {
	path     string
	snapshot *snapshot
	seq      uint64 // the segment's number
	last     []byte // the last key seen in the bucket
	state    bool   // there is a state bucket
	blocks   *newestBlocks
}

// newestBlocks is what the check finds of the blocks.
type newestBlocks struct {
	index *blockIndex
	last  uint64  // the number of the last
	end   leafEnd // where they end
}

// checkSegment verifies every page that bbolt can reach, and that each stream's blocks follow one
// another. Their frames are left to whoever reads them: a damaged event costs its block, not the
// segment. doubtful: one of the two meta pages is bad, so that the last commit may be missing.
func checkSegment(path string, seq uint64) (blocks *newestBlocks, doubtful bool, err error) {
	f, err := openBoltFile(path)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	s, err := f.snapshot()
	if err != nil {
		return nil, false, err
	}
	c := check{path: path, seq: seq, snapshot: s}
	if err := c.tree(&tree{root: s.root}, c.bucket); err != nil {
		return nil, false, err
	}
	for missing, is := range map[string]bool{"state": !c.state, "blocks": c.blocks == nil} {
		if is {
			return nil, false, &CorruptError{File: path, Reason: "the bucket " + missing + " is missing"}
		}
	}
	return c.blocks, metaFault(&s.metas[0]) != "" || metaFault(&s.metas[1]) != "", nil
}

// checkPages verifies every page that bbolt can reach of a file that holds no block.
func checkPages(path string) error {
	return withSnapshot(path, func(s *snapshot) error {
		c := check{path: path, snapshot: s}
		return c.tree(&tree{root: s.root}, c.bucket)
	})
}

// tree visits all elements of a bucket in order.
func (c *check) tree(t *tree, visit func(leaf *page, i int) error) error {
	c.last = nil
	if t.inline != nil {
		return c.leaf(t.inline, visit)
	}
	return c.page(t.root, t.via, nil, 0, visit)
}

// page visits what lies below a page, all keys of which are at or above low.
func (c *check) page(id, via uint64, low []byte, depth int, visit func(leaf *page, i int) error) error {
	if depth > deepest {
		return c.fault("page %d: over %d pages above it", id, deepest)
	}
	p, err := c.snapshot.page(id, via)
	if err != nil {
		return err
	}
	if len(p.elements) > 0 && bytes.Compare(p.elements[0].key, low) < 0 {
		return c.fault("page %d: its keys belong elsewhere", id)
	}
	if p.leaf {
		return c.leaf(p, visit)
	}
	for i, e := range p.elements {
		if c.last != nil && bytes.Compare(e.key, c.last) <= 0 {
			return c.fault("page %d: the key of element %d belongs elsewhere", id, i)
		}
		if err := c.page(e.child, id<<16|uint64(i), e.key, depth+1, visit); err != nil {
			return err
		}
	}
	return nil
}

func (c *check) leaf(p *page, visit func(leaf *page, i int) error) error {
	for i := range p.elements {
		if key := p.elements[i].key; c.last != nil && bytes.Compare(key, c.last) <= 0 {
			return c.fault("page %d: the key of element %d belongs elsewhere", p.id, i)
		}
		c.last = p.elements[i].key
		if err := visit(p, i); err != nil {
			return err
		}
	}
	return nil
}

// bucket checks one of the buckets.
func (c *check) bucket(leaf *page, i int) error {
	name := leaf.elements[i].key
	t, err := c.inner(leaf, i)
	if err != nil {
		return err
	}
	sub := check{path: c.path, seq: c.seq, snapshot: c.snapshot}
	if bytes.Equal(name, bucketBlocks) {
		c.blocks = &newestBlocks{index: newIndex()}
		sub.blocks = c.blocks
		if err := sub.tree(t, sub.block); err != nil {
			return err
		}
		if last := c.blocks.last; t.sequence > 0 && last != t.sequence {
			return c.fault("the last block is number %d, want %d", last, t.sequence)
		}
		return nil
	}
	c.state = c.state || bytes.Equal(name, bucketState)
	return sub.tree(t, sub.entry)
}

// inner returns the bucket that an element stands for.
func (c *check) inner(leaf *page, i int) (*tree, error) {
	e := leaf.elements[i]
	if !e.bucket || len(e.value) < bucketHeader {
		return nil, c.fault("page %d: element %d is no bucket", leaf.id, i)
	}
	t := &tree{root: binary.NativeEndian.Uint64(e.value), via: leaf.id<<16 | uint64(i), sequence: binary.NativeEndian.Uint64(e.value[8:])}
	if t.root == 0 {
		var fault string
		if t.inline, fault = parsePage(leaf.id, e.value[bucketHeader:]); fault != "" || !t.inline.leaf {
			return nil, c.fault("page %d: the bucket in element %d: %s", leaf.id, i, fault)
		}
	}
	return t, nil
}

func (c *check) block(leaf *page, i int) error {
	e := leaf.elements[i]
	if e.bucket {
		return c.fault("page %d: element %d is an unknown bucket", leaf.id, i)
	}
	b, fault := peekBlock(c.seq, e.key, e.value)
	if fault == "" {
		if next := c.blocks.index.span(b.stream).next; next != 0 && b.first != next {
			fault = fmt.Sprintf("the block begins at %d, want %d", b.first, next)
		}
	}
	if fault != "" {
		if err := laterBlock(c.seq, e.key, e.value); err != nil {
			return inFile(c.path, err)
		}
		return &CorruptError{c.path, b.stream, b.first, fmt.Sprintf("block %d of the segment: %s", b.number, fault)}
	}
	c.blocks.index.add(&b)
	c.blocks.last = b.number
	c.blocks.end.add(len(e.value))
	return nil
}

func (c *check) entry(leaf *page, i int) error {
	if leaf.elements[i].bucket {
		return c.fault("page %d: element %d is an unknown bucket", leaf.id, i)
	}
	return nil
}

func (c *check) fault(format string, args ...any) error {
	return &CorruptError{File: c.path, Reason: fmt.Sprintf(format, args...)}
}
