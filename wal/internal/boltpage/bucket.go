package boltpage

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
)

// LeafOf is Snapshot.LeafOf, repeated until it is sound.
func (f *File) LeafOf(ctx context.Context, name, key []byte) (leaf *Page, after []byte, err error) {
	err = f.Sound(ctx, func(s *Snapshot) (err error) {
		leaf, after, err = s.LeafOf(name, key)
		return err
	})
	return leaf, after, err
}

// LeafOf returns the leaf of a bucket where key is, or would be. The leaf is nil if there is no such bucket. A nil name
// stands for the bucket of buckets. The result after is the first key beyond the leaf, or nil if the leaf is the last.
// It is also valid with an error: the part that cannot be read ends there.
func (s *Snapshot) LeafOf(name, key []byte) (leaf *Page, after []byte, err error) {
	t := &Bucket{root: s.root}
	if name != nil {
		if t, err = s.Bucket(name); t == nil || err != nil {
			return nil, nil, err
		}
	}
	return s.leaf(t, key)
}

// Elements calls visit for every element of a bucket whose key begins with prefix, in order, a leaf at a time. The
// error of a leaf that cannot be read goes to pass. If pass returns nil, Elements continues after that leaf.
func (f *File) Elements(ctx context.Context, name, prefix []byte, visit func(e Element) error, pass func(error) error) error {
	for key := prefix; ; {
		leaf, after, err := f.LeafOf(ctx, name, key)
		if err != nil {
			if err := pass(err); err != nil {
				return err
			}
		}
		if err := VisitFrom(leaf, key, prefix, visit); err != nil {
			return err
		}
		if after == nil || !bytes.HasPrefix(after, prefix) {
			return nil
		}
		key = after
	}
}

// VisitFrom calls visit for the elements of a leaf whose keys are at or beyond key and begin with prefix.
func VisitFrom(leaf *Page, key, prefix []byte, visit func(e Element) error) error {
	if leaf == nil {
		return nil
	}
	for _, e := range leaf.Elements {
		if bytes.Compare(e.Key, key) < 0 || !bytes.HasPrefix(e.Key, prefix) {
			continue
		}
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

// Bucket is a bucket of the file.
type Bucket struct {
	name   string
	root   uint64
	via    uint64
	inline *Page // a small bucket, which lies in its parent's page
	// Sequence is the bucket's sequence number. In the bucket of blocks it is the number of the last block, or 0 if it
	// was never set.
	Sequence uint64
}

// Bucket returns the bucket of that name, or nil.
func (s *Snapshot) Bucket(name []byte) (*Bucket, error) {
	leaf, _, err := s.leaf(&Bucket{root: s.root}, name)
	if err != nil || len(leaf.Elements) == 0 {
		return nil, err
	}
	i := leaf.Find(name)
	e := leaf.Elements[i]
	if !bytes.Equal(e.Key, name) {
		return nil, nil
	}
	if !e.Bucket || len(e.Value) < bucketHeader {
		return nil, s.Corrupt("page %d: %q is no bucket", leaf.id, name)
	}
	t, fault := innerTree(leaf, i)
	if fault != "" {
		return nil, s.Corrupt("page %d: the bucket %q in it is no leaf; %s", leaf.id, name, fault)
	}
	t.name = string(name)
	return t, nil
}

// Root returns the first page of the bucket, 0 if it lies in its parent's page.
func (t *Bucket) Root() uint64 { return t.root }

// innerTree returns the bucket in an element of a leaf.
func innerTree(leaf *Page, i int) (t *Bucket, fault string) {
	e := leaf.Elements[i]
	t = &Bucket{root: binary.NativeEndian.Uint64(e.Value), via: leaf.id<<16 | uint64(i), Sequence: binary.NativeEndian.Uint64(e.Value[8:])}
	if t.root == 0 {
		if t.inline, fault = parsePage(leaf.id, e.Value[bucketHeader:]); fault == "" && !t.inline.leaf {
			fault = "it is a branch"
		}
	}
	return t, fault
}

// leaf is LeafOf for a bucket.
func (s *Snapshot) leaf(t *Bucket, key []byte) (leaf *Page, after []byte, err error) {
	leaf, low, after, err := s.leafInFile(t, key)
	if err != nil || t.name == "" {
		return leaf, after, err
	}
	more, err := s.Overlaid(t.name)
	if err != nil {
		return nil, after, err
	}
	return leaf.with(more, low, after), after, nil
}

// Overlaid returns the elements that the overlay of the file adds to a bucket.
func (s *Snapshot) Overlaid(name string) (list []Element, err error) {
	if !s.overlaid && s.file.Overlay != nil {
		if s.overlay, err = s.file.Overlay(s); err != nil {
			return nil, err
		}
		s.overlaid = true
	}
	return s.overlay[name], nil
}

// with returns the leaf with those of the elements that lie in [low, after).
func (p *Page) with(list []Element, low, after []byte) *Page {
	compare := func(e Element, key []byte) int { return bytes.Compare(e.Key, key) }
	from, _ := slices.BinarySearchFunc(list, low, compare)
	list = list[from:]
	if after != nil {
		to, _ := slices.BinarySearchFunc(list, after, compare)
		list = list[:to]
	}
	if len(list) == 0 {
		return p
	}
	q := *p
	q.Elements = make([]Element, 0, len(p.Elements)+len(list))
	for _, e := range p.Elements {
		for len(list) > 0 && bytes.Compare(list[0].Key, e.Key) < 0 {
			q.Elements, list = append(q.Elements, list[0]), list[1:]
		}
		if len(list) > 0 && bytes.Equal(list[0].Key, e.Key) {
			e, list = list[0], list[1:]
		}
		q.Elements = append(q.Elements, e)
	}
	q.Elements = append(q.Elements, list...)
	return &q
}

// leafInFile is leaf without the overlay. low is the first key of the leaf by the branch above it; nil: it is the first leaf.
func (s *Snapshot) leafInFile(t *Bucket, key []byte) (leaf *Page, low, after []byte, err error) {
	if t.inline != nil {
		return t.inline, nil, nil, nil
	}
	id, via, first := t.root, t.via, true
	for range deepest {
		p, err := s.pageWithin(id, via, low, after)
		if err != nil {
			return nil, low, after, err
		}
		if p.leaf {
			if first {
				low = nil
			}
			return p, low, after, nil
		}
		i := p.Find(key)
		first = first && i == 0
		if i+1 < len(p.Elements) {
			after = p.Elements[i+1].Key
		}
		low, via, id = p.Elements[i].Key, id<<16|uint64(i), p.Elements[i].child
	}
	return nil, low, after, s.Corrupt("page %d: over %d pages above it", id, deepest)
}

// Value returns the value of key in a bucket, or nil.
func (s *Snapshot) Value(bucket, key []byte) ([]byte, error) {
	leaf, _, err := s.LeafOf(bucket, key)
	if err != nil || leaf == nil || len(leaf.Elements) == 0 {
		return nil, err
	}
	if e := leaf.Elements[leaf.Find(key)]; bytes.Equal(e.Key, key) {
		return e.Value, nil
	}
	return nil, nil
}
