package small

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
)

// Bucket is the name of the bucket that has the pages.
var Bucket = []byte("small")

var valueKey = []byte("pages")

const (
	// most is the number of pages of a segment: the blocks of so many small commits are stored in their bucket at once.
	most = 64
	// least is the fewest pages that are worth their space, and share the part of a segment that they may take.
	least, share = 4, 64

	pageHeader = 16 // of a page of bbolt
	element    = 16 // of its only element
	seedLength = 8
)

// Pages returns the number of pages for the small commits of a segment of that size; 0: it is too short.
func Pages(segmentSize int64, pageSize int) int {
	if n := min(segmentSize/share/int64(pageSize), most); n >= least {
		return int(n)
	}
	return 0
}

// Bytes returns the bytes that the bucket takes with so many pages: also its first, and one for the last confirmation.
func Bytes(pages, pageSize int) int64 {
	if pages == 0 {
		return 0
	}
	return int64((1 + pages + 1) * pageSize)
}

// Space is the pages of a segment. The zero value has none.
type Space struct {
	Count    int // of the pages
	pageSize int64
	first    int64  // where they begin in the file
	seed     uint64 // of the checksums, drawn for each segment
}

// Create makes the bucket with count pages.
func Create(tx *bolt.Tx, count int) error {
	if count == 0 {
		return nil
	}
	pageSize := tx.DB().Info().PageSize
	value := make([]byte, int(Bytes(count, pageSize))-pageHeader-element-len(valueKey))
	_, _ = rand.Read(value[:seedLength]) // never fails
	bucket, err := tx.CreateBucket(Bucket)
	if err == nil {
		err = bucket.Put(valueKey, value)
	}
	if err != nil {
		return fmt.Errorf("create pages for small commits: %w", err)
	}
	return nil
}

// Delete deletes the bucket, if it is there: a sealed segment has none.
func Delete(tx *bolt.Tx) error {
	if tx.Bucket(Bucket) == nil {
		return nil
	}
	return tx.DeleteBucket(Bucket)
}

// InTx returns the space of a segment that bbolt writes.
func InTx(tx *bolt.Tx) Space {
	bucket := tx.Bucket(Bucket)
	if bucket == nil {
		return Space{}
	}
	pageSize := tx.DB().Info().PageSize
	value := bucket.Get(valueKey)
	return spaceOf(uint64(bucket.Root()), int64(pageSize), len(value)/pageSize-1, value)
}

// Of returns the space of a segment's snapshot.
func Of(s *boltpage.Snapshot) (Space, error) {
	bucket, err := s.Bucket(Bucket)
	if bucket == nil || err != nil {
		return Space{}, err
	}
	root := bucket.Root()
	page, err := s.Bytes(root, 1)
	if err != nil {
		return Space{}, err
	}
	head := pageHeader + element + len(valueKey)
	length := int64(binary.NativeEndian.Uint32(page[pageHeader+12:]))
	pages := (length + int64(head)) / int64(len(page))
	if binary.NativeEndian.Uint64(page) != root || string(page[head-len(valueKey):head]) != string(valueKey) || pages < 3 || pages > 1+most+1 {
		return Space{}, s.Corrupt("page %d: it is not the first page for small commits", root)
	}
	return spaceOf(root, int64(len(page)), int(pages)-2, page[head:]), nil
}

func spaceOf(root uint64, pageSize int64, count int, value []byte) Space {
	return Space{Count: count, pageSize: pageSize, first: (int64(root) + 1) * pageSize, seed: binary.NativeEndian.Uint64(value)}
}

// Offset returns where page number lies in the file. The first has the number 1.
func (p *Space) Offset(number int) int64 { return p.first + int64(number-1)*p.pageSize }
