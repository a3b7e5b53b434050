package boltcopy

import (
	"bytes"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// ChunkSize is the number of bytes that are read, or written and synced, at a time. It bounds the memory of a copy, and
// the time that a commit's sync may wait for a copy's sync.
const ChunkSize = 1 << 20

// Writer writes a copy with transactions of about ChunkSize bytes. They are not shorter, since each transaction
// leaves free pages in the file.
type Writer struct {
	DB     *bolt.DB
	Tx     *bolt.Tx // nil between transactions
	Length int64    // of the file's pages, in bytes, as of the last Commit
	bytes  int      // of the transaction
}

// Put adds the entries of the chunk to the bucket of this name. Their keys must be above those in the bucket.
func (w *Writer) Put(name []byte, c *Chunk) (err error) {
	if w.bytes > ChunkSize {
		if err := w.Commit(); err != nil {
			return err
		}
	}
	if w.Tx == nil {
		if w.Tx, err = w.DB.Begin(true); err != nil {
			return fmt.Errorf("begin copy: %w", err)
		}
	}
	bucket, err := w.Tx.CreateBucketIfNotExists(name)
	if err != nil {
		return fmt.Errorf("create bucket: %w", err)
	}
	bucket.FillPercent = 1
	for i := range c.keys {
		if err := bucket.Put(c.keys[i], c.values[i]); err != nil {
			return fmt.Errorf("put: %w", err)
		}
		w.bytes += len(c.keys[i]) + len(c.values[i])
	}
	return nil
}

// Commit ends the transaction, and returns once it is synced.
func (w *Writer) Commit() error {
	tx := w.Tx
	w.Tx, w.bytes = nil, 0
	if err := errors.Join(tx.Commit(), w.DB.Sync()); err != nil {
		return fmt.Errorf("commit copy: %w", err)
	}
	return segment.ViewBolt(w.DB, w.DB.Path(), 0, func(tx *bolt.Tx) error {
		w.Length = tx.Size()
		return nil
	})
}

// Abandon rolls back a transaction that an error has left open.
func (w *Writer) Abandon() error {
	if w.Tx == nil {
		return nil
	}
	return w.Tx.Rollback()
}

// Chunk is a part of a bucket's entries.
type Chunk struct {
	Next         []byte // the first key of the next chunk; nil: there is none
	keys, values [][]byte
}

// Add adds an entry. The chunk keeps the slices.
func (b *Chunk) Add(key, value []byte) {
	b.keys, b.values = append(b.keys, key), append(b.values, value)
}

// AddBlock adds an entry whose key is a number.
func (b *Chunk) AddBlock(number uint64, value []byte) { b.Add(segment.NumberKey(number), value) }

// Replace replaces the value of each entry by the result of f. An error ends it.
func (b *Chunk) Replace(f func(k, v []byte) ([]byte, error)) (err error) {
	for i := range b.keys {
		if b.values[i], err = f(b.keys[i], b.values[i]); err != nil {
			return err
		}
	}
	return nil
}

// Read calls f for about ChunkSize bytes of entries, and sets Next.
func (b *Chunk) Read(c segment.Entries, from []byte, f func(k, v []byte, c *Chunk) error) error {
	size := 0
	for k, v := c.Seek(from); k != nil; k, v = c.Next() {
		if size > ChunkSize {
			b.Next = bytes.Clone(k)
			return nil
		}
		if err := f(k, v, b); err != nil {
			return err
		}
		size += len(k) + len(v)
	}
	return nil
}
