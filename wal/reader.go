package wal

import (
	"bytes"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
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
	Floor(key []byte) (k, v []byte) // the last whose key is not above key
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

func (c boltEntries) Floor(key []byte) (k, v []byte) {
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
type pageReader struct{ snapshot *boltpage.Snapshot }

func (r pageReader) bucket(name []byte) entries {
	t, err := r.snapshot.Bucket(name)
	if err != nil {
		panic(err)
	}
	if t == nil {
		return nil
	}
	return r.snapshot.Cursor(t)
}

// valueOf returns what a bucket has under key, or nil.
func valueOf(c entries, key []byte) []byte {
	if k, v := c.Seek(key); bytes.Equal(k, key) {
		return v
	}
	return nil
}

// numberCursor finds blocks by their numbers. Those that follow one another cost no search.
type numberCursor struct {
	entries
	last uint64
}

// at returns the block of that number, or nil.
func (c *numberCursor) at(number uint64) (k, v []byte) {
	key := numberKey(number)
	if c.last > 0 && number == c.last+1 {
		k, v = c.Next()
	} else {
		k, v = c.Seek(key)
	}
	c.last = number
	if !bytes.Equal(k, key) {
		c.last = 0
		return nil, nil
	}
	return k, v
}
