package wal

import (
	"bytes"
	"sort"
)

// cursor returns a cursor of the bucket.
func (s *snapshot) cursor(t *tree) *pageEntries { return &pageEntries{snapshot: s, tree: t} }

// pageEntries walks a bucket's pages. A page that cannot be read is a panic with its error, as it is in a cursor of bbolt.
type pageEntries struct {
	snapshot *snapshot
	tree     *tree
	leaf     *page  // the last that was looked at; nil: none was
	i        int    // where in it
	after    []byte // what lies beyond it begins there; nil: nothing does
}

func (c *pageEntries) Seek(key []byte) (k, v []byte) {
	c.turn(key)
	c.i = sort.Search(len(c.leaf.elements), func(i int) bool { return bytes.Compare(c.leaf.elements[i].key, key) >= 0 })
	return c.entry()
}

func (c *pageEntries) Next() (k, v []byte) {
	if c.leaf == nil {
		return c.Seek(nil)
	}
	c.i++
	return c.entry()
}

func (c *pageEntries) floor(key []byte) (k, v []byte) {
	c.turn(key)
	if c.i = c.leaf.find(key); c.i < len(c.leaf.elements) && bytes.Compare(c.leaf.elements[c.i].key, key) > 0 {
		return nil, nil
	}
	return c.entry()
}

// turn goes to the leaf where key is, or would be.
func (c *pageEntries) turn(key []byte) {
	if c.leaf != nil && len(c.leaf.elements) > 0 && bytes.Compare(key, c.leaf.elements[0].key) >= 0 && (c.after == nil || bytes.Compare(key, c.after) < 0) {
		return
	}
	var err error
	if c.leaf, c.after, err = c.snapshot.leaf(c.tree, key); err != nil {
		panic(err)
	}
}

// entry returns the entry at i, or the first of the leaves after this one.
func (c *pageEntries) entry() (k, v []byte) {
	for c.i >= len(c.leaf.elements) {
		if c.after == nil {
			return nil, nil
		}
		c.turn(c.after)
		c.i = 0
	}
	e := c.leaf.elements[c.i]
	if e.bucket {
		return e.key, nil
	}
	return e.key, e.value
}
