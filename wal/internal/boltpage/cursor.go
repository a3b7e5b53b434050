package boltpage

import (
	"bytes"
	"sort"
)

// Cursor returns a cursor of the bucket.
func (s *Snapshot) Cursor(t *Bucket) *Cursor { return &Cursor{snapshot: s, tree: t} }

// Cursor visits a bucket's entries in the same way as a cursor of bbolt. At a page that cannot be read it panics with
// the error of the file's Faults, and the caller must recover.
type Cursor struct {
	snapshot *Snapshot
	tree     *Bucket
	leaf     *Page  // the current one; nil: none yet
	i        int    // the current element in it
	after    []byte // the first key beyond the leaf; nil: it is the last
}

// Seek moves to the first entry at or beyond key, and returns it; nil: there is none.
func (c *Cursor) Seek(key []byte) (k, v []byte) {
	c.turn(key)
	c.i = sort.Search(len(c.leaf.Elements), func(i int) bool { return bytes.Compare(c.leaf.Elements[i].Key, key) >= 0 })
	return c.entry()
}

// Next moves to the next entry, or to the first of all, and returns it; nil: there is none.
func (c *Cursor) Next() (k, v []byte) {
	if c.leaf == nil {
		return c.Seek(nil)
	}
	c.i++
	return c.entry()
}

// Floor moves to the last entry whose key is not above key, and returns it; nil: there is none.
func (c *Cursor) Floor(key []byte) (k, v []byte) {
	c.turn(key)
	if c.i = c.leaf.Find(key); c.i < len(c.leaf.Elements) && bytes.Compare(c.leaf.Elements[c.i].Key, key) > 0 {
		return nil, nil
	}
	return c.entry()
}

// turn moves to the leaf where key is, or would be.
func (c *Cursor) turn(key []byte) {
	if c.leaf != nil && len(c.leaf.Elements) > 0 && bytes.Compare(key, c.leaf.Elements[0].Key) >= 0 && (c.after == nil || bytes.Compare(key, c.after) < 0) {
		return
	}
	var err error
	if c.leaf, c.after, err = c.snapshot.leaf(c.tree, key); err != nil {
		panic(err)
	}
}

// entry returns the entry at i. If i is beyond the leaf, it moves to the first entry of the leaves that follow.
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
