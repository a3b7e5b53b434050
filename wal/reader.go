package wal

import (
	"bytes"
	"sort"

	bolt "go.etcd.io/bbolt"
)

// reader is a segment as one transaction left it. What can't be read of it is a panic, as it is in bbolt:
// segment.view makes it a CorruptError.
type reader interface {
	bucket(name []byte) entries // nil: there is none
}

// entries are those of a bucket by their keys. What they return is good until the view ends; nil: there
// is none.
type entries interface {
	Seek(key []byte) (k, v []byte)  // the first from key on
	Next() (k, v []byte)            // the one after the last that was returned
	floor(key []byte) (k, v []byte) // the last whose key is not above key
}

// boltReader reads the segment that bbolt writes.
type boltReader struct{ tx *bolt.Tx }

func (r boltReader) bucket(name []byte) entries {
	b := r.tx.Bucket(name)
	if b == nil {
		return nil
	}
	return boltEntries{b.Cursor()}
}

type boltEntries struct{ *bolt.Cursor }

func (c boltEntries) floor(key []byte) (k, v []byte) {
	k, v = c.Seek(key)
	switch {
	case k == nil:
		return c.Last()
	case !bytes.Equal(k, key):
		return c.Prev()
	}
	return k, v
}

// pageReader reads the sealed segments. bbolt would follow pages that lead back to themselves until its
// stack is full, and that ends the process.
type pageReader struct{ snapshot *snapshot }

func (r pageReader) bucket(name []byte) entries {
	t, err := r.snapshot.bucket(name)
	if err != nil {
		panic(err)
	}
	if t == nil {
		return nil
	}
	return &pageEntries{snapshot: r.snapshot, tree: t}
}

// pageEntries walks a bucket's pages.
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

// valueOf returns what a bucket has under key, or nil.
func valueOf(c entries, key []byte) []byte {
	if k, v := c.Seek(key); bytes.Equal(k, key) {
		return v
	}
	return nil
}
