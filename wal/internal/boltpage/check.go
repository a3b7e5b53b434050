package boltpage

import "bytes"

// Check reads every page that bbolt can reach from the snapshot's meta page. It verifies that the pages are whole,
// that only one element refers to each, and that the keys of a bucket ascend. It calls enter for each bucket, and then
// the returned visit for each entry of the bucket in the order of keys.
func (s *Snapshot) Check(enter func(name []byte, sequence uint64) (visit func(e Element) error)) error {
	c := checking{snapshot: s}
	return c.tree(&Bucket{root: s.root}, func(leaf *Page, i int) error {
		e := leaf.Elements[i]
		if !e.Bucket || len(e.Value) < bucketHeader {
			return s.Corrupt("page %d: element %d is no bucket", leaf.id, i)
		}
		t, fault := innerTree(leaf, i)
		if fault != "" {
			return s.Corrupt("page %d: the bucket in element %d: %s", leaf.id, i, fault)
		}
		visit := enter(e.Key, t.Sequence)
		inner := checking{snapshot: s}
		return inner.tree(t, func(leaf *Page, i int) error {
			if leaf.Elements[i].Bucket {
				return s.Corrupt("page %d: element %d is an unknown bucket", leaf.id, i)
			}
			return visit(leaf.Elements[i])
		})
	})
}

// checking is the check of one bucket.
type checking struct {
	snapshot *Snapshot
	last     []byte // the last key
}

// tree visits all elements of a bucket in order.
func (c *checking) tree(t *Bucket, visit func(leaf *Page, i int) error) error {
	if t.inline != nil {
		return c.leaf(t.inline, visit)
	}
	return c.page(t.root, t.via, nil, 0, visit)
}

// page visits the elements of a page and of the pages below it. The page's keys must be at or above low.
func (c *checking) page(id, via uint64, low []byte, depth int, visit func(leaf *Page, i int) error) error {
	if depth > deepest {
		return c.snapshot.Corrupt("page %d: over %d pages above it", id, deepest)
	}
	p, err := c.snapshot.page(id, via)
	if err != nil {
		return err
	}
	if len(p.Elements) > 0 && bytes.Compare(p.Elements[0].Key, low) < 0 {
		return c.snapshot.Corrupt("page %d: its keys belong elsewhere", id)
	}
	if p.leaf {
		return c.leaf(p, visit)
	}
	for i, e := range p.Elements {
		if c.last != nil && bytes.Compare(e.Key, c.last) <= 0 {
			return c.snapshot.Corrupt("page %d: the key of element %d belongs elsewhere", id, i)
		}
		if err := c.page(e.child, id<<16|uint64(i), e.Key, depth+1, visit); err != nil {
			return err
		}
	}
	return nil
}

func (c *checking) leaf(p *Page, visit func(leaf *Page, i int) error) error {
	for i := range p.Elements {
		if key := p.Elements[i].Key; c.last != nil && bytes.Compare(key, c.last) <= 0 {
			return c.snapshot.Corrupt("page %d: the key of element %d belongs elsewhere", p.id, i)
		}
		c.last = p.Elements[i].Key
		if err := visit(p, i); err != nil {
			return err
		}
	}
	return nil
}
