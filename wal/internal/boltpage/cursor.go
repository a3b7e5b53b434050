package boltpage

import (
	"bytes"
	"sort"
)

// Cursor returns a cursor of the bucket.
func (s *Snapshot) Cursor(t *Bucket) *Cursor { return &Cursor{snapshot: s, tree: t} }

// Cursor walks a bucket's pages. A page that cannot be read is a panic with its error, as it is in a cursor of bbolt.
type Cursor struct {
	snapshot *Snapshot
	tree     *Bucket
	leaf     *Page  // the last that was looked at; nil: none was
	i        int    // where in it
	after    []byte // what lies beyond it begins there; nil: nothing does
}

func (c *Cursor) Seek(key []byte) (k, v []byte) {
	c.turn(key)
	c.i = sort.Search(len(c.leaf.Elements), func(i int) bool { return bytes.Compare(c.leaf.Elements[i].Key, key) >= 0 })
	return c.entry()
}

func (c *Cursor) Next() (k, v []byte) {
	if c.leaf == nil {
		return c.Seek(nil)
	}
	c.i++
	return c.entry()
}

func (c *Cursor) Floor(key []byte) (k, v []byte) {
	c.turn(key)
	if c.i = c.leaf.Find(key); c.i < len(c.leaf.Elements) && bytes.Compare(c.leaf.Elements[c.i].Key, key) > 0 {
		return nil, nil
	}
	return c.entry()
}

// turn goes to the leaf where key is, or would be.
func (c *Cursor) turn(key []byte) {
	if c.leaf != nil && len(c.leaf.Elements) > 0 && bytes.Compare(key, c.leaf.Elements[0].Key) >= 0 && (c.after == nil || bytes.Compare(key, c.after) < 0) {
		return
	}
	var err error
	if c.leaf, c.after, err = c.snapshot.leaf(c.tree, key); err != nil {
		panic(err)
	}
}

// entry returns the entry at i, or the first of the leaves after this one.
func (c *Cursor) entry() (k, v []byte) {
	for c.i >= len(c.leaf.Elements) {
		if c.after == nil {
			return nil, nil
		}
		c.turn(c.after)
		c.i = 0
	}
	e := c.leaf.Elements[c.i]
	if e.Bucket {
		return e.Key, nil
	}
	return e.Key, e.Value
}
