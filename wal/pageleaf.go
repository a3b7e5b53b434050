package wal

import (
	"bytes"
	"context"
)

// leafOf returns the leaf of a bucket where key is, or would be; of the bucket of buckets when name
// is nil. leaf is nil when there is no such bucket. after: see snapshot.leaf.
func (f *boltFile) leafOf(ctx context.Context, name, key []byte) (leaf *page, after []byte, err error) {
	err = f.sound(ctx, func(s *snapshot) (err error) {
		leaf, after, err = s.leafOf(name, key)
		return err
	})
	return leaf, after, err
}

func (s *snapshot) leafOf(name, key []byte) (leaf *page, after []byte, err error) {
	t := &tree{root: s.root}
	if name != nil {
		if t, err = s.bucket(name); t == nil || err != nil {
			return nil, nil, err
		}
	}
	return s.leaf(t, key)
}

// elements calls visit for every element of a bucket whose key begins with prefix, in order, a leaf at a time. The error
// of a leaf that cannot be read goes to pass; when pass returns nil, elements goes on after that leaf.
func (f *boltFile) elements(ctx context.Context, name, prefix []byte, visit func(e element) error, pass func(error) error) error {
	for key := prefix; ; {
		leaf, after, err := f.leafOf(ctx, name, key)
		if err != nil {
			if err := pass(err); err != nil {
				return err
			}
		}
		if err := visitFrom(leaf, key, prefix, visit); err != nil {
			return err
		}
		if after == nil || !bytes.HasPrefix(after, prefix) {
			return nil
		}
		key = after
	}
}

func visitFrom(leaf *page, key, prefix []byte, visit func(e element) error) error {
	if leaf == nil {
		return nil
	}
	for _, e := range leaf.elements {
		if bytes.Compare(e.key, key) < 0 || !bytes.HasPrefix(e.key, prefix) {
			continue
		}
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}
