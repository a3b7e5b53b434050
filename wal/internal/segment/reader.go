package segment

import (
	"bytes"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/recent"
	"github.com/standpipe/standpipe/wal/internal/small"
)

// Reader is a segment as one transaction left it. Like bbolt, it panics at a page that cannot be read. ViewBolt and
// ViewPages turn the panic into an error.
type Reader interface {
	Bucket(name []byte) Entries // nil: there is none
}

// Entries finds a bucket's entries by their keys. Returned keys and values are valid until the view ends; nil: there
// is no such entry.
type Entries interface {
	Seek(key []byte) (k, v []byte)  // the first entry at or beyond key
	Next() (k, v []byte)            // the entry after the last one that was returned
	Floor(key []byte) (k, v []byte) // the last entry whose key is not above key
}

// BoltReader reads the segment that bbolt writes, without the state of its small commits.
type BoltReader struct {
	Tx      *bolt.Tx
	Pending []boltpage.Element // the blocks of small commits; those of them that Tx has are left out
}

func (r BoltReader) Bucket(name []byte) Entries {
	b := r.Tx.Bucket(name)
	if b == nil {
		return nil
	}
	if bytes.Equal(name, BucketBlocks) {
		return &recent.Cursor{Bucket: boltEntries{b.Cursor()}, Recent: append(recent.InTx(r.Tx), small.After(r.Pending, b.Sequence())...)}
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

// pageReader reads sealed segments. bbolt is not used for them: it would follow pages that lead back to themselves
// until its stack is full, and that ends the process.
type pageReader struct{ snapshot *boltpage.Snapshot }

func (r pageReader) Bucket(name []byte) Entries {
	t, err := r.snapshot.Bucket(name)
	if err != nil {
		panic(err)
	}
	if t == nil {
		return nil
	}
	if bytes.Equal(name, BucketBlocks) {
		return recent.OfPages(r.snapshot, t)
	}
	return r.snapshot.Cursor(t)
}

// ValueOf returns the value of key in a bucket, or nil.
func ValueOf(c Entries, key []byte) []byte {
	if k, v := c.Seek(key); bytes.Equal(k, key) {
		return v
	}
	return nil
}

// NumberCursor finds blocks by their numbers. It needs no search for the block after the last one that it returned.
type NumberCursor struct {
	Entries
	last uint64
}

// At returns the block of that number, or nil.
func (c *NumberCursor) At(number uint64) (k, v []byte) {
	key := NumberKey(number)
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
