package wal

import "bytes"

// check verifies every page that bbolt can reach from the snapshot's meta page: that the pages are whole, that each is
// referred to once, that the keys of a bucket rise. For each bucket it calls enter, and then visit, which enter
// returned, for each entry in the order of the keys.
func (s *snapshot) check(enter func(name []byte, sequence uint64) (visit func(e element) error)) error {
	c := checking{snapshot: s}
	return c.tree(&tree{root: s.root}, func(leaf *page, i int) error {
		e := leaf.elements[i]
		if !e.bucket || len(e.value) < bucketHeader {
			return s.corrupt("page %d: element %d is no bucket", leaf.id, i)
		}
		t, fault := innerTree(leaf, i)
		if fault != "" {
			return s.corrupt("page %d: the bucket in element %d: %s", leaf.id, i, fault)
		}
		visit := enter(e.key, t.sequence)
		inner := checking{snapshot: s}
		return inner.tree(t, func(leaf *page, i int) error {
			if leaf.elements[i].bucket {
				return s.corrupt("page %d: element %d is an unknown bucket", leaf.id, i)
			}
			return visit(leaf.elements[i])
		})
	})
}

// checking is the check of one bucket.
type checking struct {
	snapshot *snapshot
	last     []byte // the last key
}

// tree visits all elements of a bucket in order.
func (c *checking) tree(t *tree, visit func(leaf *page, i int) error) error {
	if t.inline != nil {
		return c.leaf(t.inline, visit)
	}
	return c.page(t.root, t.via, nil, 0, visit)
}

// page visits what lies below a page, all keys of which are at or above low.
func (c *checking) page(id, via uint64, low []byte, depth int, visit func(leaf *page, i int) error) error {
	if depth > deepest {
		return c.snapshot.corrupt("page %d: over %d pages above it", id, deepest)
	}
	p, err := c.snapshot.page(id, via)
	if err != nil {
		return err
	}
	if len(p.elements) > 0 && bytes.Compare(p.elements[0].key, low) < 0 {
		return c.snapshot.corrupt("page %d: its keys belong elsewhere", id)
	}
	if p.leaf {
		return c.leaf(p, visit)
	}
	for i, e := range p.elements {
		if c.last != nil && bytes.Compare(e.key, c.last) <= 0 {
			return c.snapshot.corrupt("page %d: the key of element %d belongs elsewhere", id, i)
		}
		if err := c.page(e.child, id<<16|uint64(i), e.key, depth+1, visit); err != nil {
			return err
		}
	}
	return nil
}

func (c *checking) leaf(p *page, visit func(leaf *page, i int) error) error {
	for i := range p.elements {
		if key := p.elements[i].key; c.last != nil && bytes.Compare(key, c.last) <= 0 {
			return c.snapshot.corrupt("page %d: the key of element %d belongs elsewhere", p.id, i)
		}
		c.last = p.elements[i].key
		if err := visit(p, i); err != nil {
			return err
		}
	}
	return nil
}
