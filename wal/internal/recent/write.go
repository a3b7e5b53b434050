package recent

import (
	"bytes"
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

const (
	prefix     = 'r'
	nameLength = 1 + 8

	pageHeader   = 16
	element      = 16 // of a leaf, without key and value
	bucketHeader = 16

	// overhead is the number of bytes that a recent block takes in addition to its own: the element of its bucket, and the
	// page in it with one element.
	overhead = element + nameLength + bucketHeader + pageHeader + element + 8

	// growth is the number of bytes that are left for the state, which the same transaction may make longer.
	growth = 32
)

// Blocks are the recent blocks of a segment. The zero value is none.
type Blocks struct {
	Count int
	bytes int // that they take in the page of the buckets
}

// With returns the recent blocks after one of that length is added.
func (b Blocks) With(length int) Blocks { return Blocks{b.Count + 1, b.bytes + overhead + length} }

// IsName reports whether a bucket of that name holds a recent block.
func IsName(name []byte) bool { return len(name) == nameLength && name[0] == prefix }

func nameOf(number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, number)
}

// Fit reports whether the page of the buckets has room for the values as well.
func (b Blocks) Fit(tx *bolt.Tx, values [][]byte) bool {
	pageSize := tx.DB().Info().PageSize
	for _, value := range values {
		if pageHeader+element+8+len(value) > pageSize/4 {
			return false
		}
		b = b.With(len(value))
	}
	return b.bytes <= pageSize-growth-others(tx)
}

// others returns the bytes that the page of the buckets has without recent blocks.
func others(tx *bolt.Tx) (n int) {
	n = pageHeader
	c := tx.Cursor()
	for name, _ := c.First(); name != nil; name, _ = c.Next() {
		if IsName(name) {
			continue
		}
		n += element + len(name) + bucketHeader
		if b := tx.Bucket(name); b.Root() == 0 { // it lies in the page
			n += pageHeader
			for c, k, v := first(b); k != nil; k, v = c.Next() {
				n += element + len(k) + len(v)
			}
		}
	}
	return n
}

func first(b *bolt.Bucket) (c *bolt.Cursor, k, v []byte) {
	c = b.Cursor()
	k, v = c.First()
	return c, k, v
}

// Put adds a recent block. Fit has reported that there is room.
func Put(tx *bolt.Tx, number uint64, value []byte) error {
	name := nameOf(number)
	b, err := tx.CreateBucket(name)
	if err == nil {
		err = b.Put(name[1:], value)
	}
	if err != nil {
		return fmt.Errorf("put recent block %d: %w", number, err)
	}
	return nil
}

// Move moves the recent blocks into the bucket of blocks. last is the number of the last one.
func (b Blocks) Move(tx *bolt.Tx, to *bolt.Bucket, last uint64) error {
	for number := last + 1 - uint64(b.Count); number <= last; number++ {
		name := nameOf(number)
		from := tx.Bucket(name)
		if from == nil {
			return fmt.Errorf("move recent block %d: it is missing", number)
		}
		value := bytes.Clone(from.Get(name[1:]))
		if err := tx.DeleteBucket(name); err != nil {
			return fmt.Errorf("move recent block %d: %w", number, err)
		}
		if err := to.Put(name[1:], value); err != nil {
			return fmt.Errorf("move recent block %d: %w", number, err)
		}
	}
	return nil
}
