package boltpage

import (
	"bytes"
	"context"
)

// LeafOf returns the leaf of a bucket where key is, or would be; of the bucket of buckets when name
// is nil. leaf is nil when there is no such bucket. after: see snapshot.leaf.
func (f *File) LeafOf(ctx context.Context, name, key []byte) (leaf *Page, after []byte, err error) {
	err = f.Sound(ctx, func(s *Snapshot) (err error) {
		leaf, after, err = s.LeafOf(name, key)
		return err
	})
	return leaf, after, err
}

func (s *Snapshot) LeafOf(name, key []byte) (leaf *Page, after []byte, err error) {
	t := &Bucket{root: s.root}
	if name != nil {
		if t, err = s.Bucket(name); t == nil || err != nil {
			return nil, nil, err
		}
	}
	return s.leaf(t, key)
}

// Elements calls visit for every element of a bucket whose key begins with prefix, in order, a leaf at a time. The error
// of a leaf that cannot be read goes to pass; when pass returns nil, elements goes on after that leaf.
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
