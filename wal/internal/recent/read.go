package recent

import (
	"bytes"
	"sort"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
)

// Read returns the recent blocks of a snapshot, in order.
func Read(s *boltpage.Snapshot) (list []boltpage.Element, err error) {
	for key := []byte{prefix}; key != nil; {
		buckets, after, err := s.LeafOf(nil, key)
		if err != nil {
			return list, err
		}
		for _, e := range buckets.Elements {
			if !IsName(e.Key) {
				continue
			}
			leaf, _, err := s.LeafOf(e.Key, nil)
			if err != nil {
				return list, err
			}
			if leaf == nil || len(leaf.Elements) != 1 || !bytes.Equal(leaf.Elements[0].Key, e.Key[1:]) {
				return list, s.Corrupt("the bucket of block %x does not hold it", e.Key[1:])
			}
			list = append(list, leaf.Elements[0])
		}
		if key = after; key != nil && key[0] > prefix {
			break
		}
	}
	return list, nil
}

// InTx is Read for a transaction of bbolt. The blocks are valid until it ends.
func InTx(tx *bolt.Tx) (list []boltpage.Element) {
	c := tx.Cursor()
	for name, _ := c.Seek([]byte{prefix}); IsName(name); name, _ = c.Next() {
		list = append(list, boltpage.Element{Key: name[1:], Value: tx.Bucket(name).Get(name[1:])})
	}
	return list
}

// LeafOf is Snapshot.LeafOf for the bucket of blocks, whose name is given. The recent blocks are its last leaf.
func LeafOf(s *boltpage.Snapshot, blocks, key []byte) (leaf *boltpage.Page, after []byte, err error) {
	leaf, after, err = s.LeafOf(blocks, key)
	if after != nil || leaf == nil && err == nil {
		return leaf, after, err
	}
	list, err2 := Read(s)
	switch {
	case err != nil && err2 != nil || len(list) == 0 && err2 == nil:
		return leaf, nil, err
	case err2 != nil:
		return leaf, nil, err2
	case bytes.Compare(key, list[0].Key) >= 0:
		return &boltpage.Page{Elements: list}, nil, nil
	}
	return leaf, list[0].Key, err
}

// Entries finds a bucket's entries by their keys; see segment.Entries.
type Entries interface {
	Seek(key []byte) (k, v []byte)
	Next() (k, v []byte)
	Floor(key []byte) (k, v []byte)
}

// Cursor continues the bucket of blocks with the recent blocks.
type Cursor struct {
	Bucket Entries
	Recent []boltpage.Element

	i int // the position in Recent, plus one; 0: in the bucket
}

// OfPages returns a cursor of the blocks of a snapshot. Like the cursors of its buckets, it panics at a page that cannot be read.
func OfPages(s *boltpage.Snapshot, blocks *boltpage.Bucket) *Cursor {
	list, err := Read(s)
	if err != nil {
		panic(err)
	}
	return &Cursor{Bucket: s.Cursor(blocks), Recent: list}
}

// Seek returns the first block at or beyond key.
func (c *Cursor) Seek(key []byte) (k, v []byte) {
	if c.i = 0; len(c.Recent) == 0 || bytes.Compare(key, c.Recent[0].Key) < 0 {
		if k, v = c.Bucket.Seek(key); k != nil {
			return k, v
		}
	}
	c.i = 1 + sort.Search(len(c.Recent), func(i int) bool { return bytes.Compare(c.Recent[i].Key, key) >= 0 })
	return c.entry()
}

// Next returns the block after the last one that was returned, or the first of all.
func (c *Cursor) Next() (k, v []byte) {
	if c.i == 0 {
		if k, v = c.Bucket.Next(); k != nil {
			return k, v
		}
	}
	c.i++
	return c.entry()
}

// Floor returns the last block whose key is not above key.
func (c *Cursor) Floor(key []byte) (k, v []byte) {
	if c.i = sort.Search(len(c.Recent), func(i int) bool { return bytes.Compare(c.Recent[i].Key, key) > 0 }); c.i == 0 {
		return c.Bucket.Floor(key)
	}
	return c.entry()
}

func (c *Cursor) entry() (k, v []byte) {
	if c.i > len(c.Recent) {
		return nil, nil
	}
	e := &c.Recent[c.i-1]
	return e.Key, e.Value
}
