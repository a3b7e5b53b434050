package deadletter

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// A body of over mostInline bytes is stored in the bucket "parts", in values of partLength bytes. The last may be shorter. The
// key of a part is the letter's ID, 8 bytes, and the part's number from 0 on, 4 bytes, big-endian.
//
// No entry of the file has more than mostEntry bytes, so no page of bbolt is longer than 4096 bytes. bbolt splits a longer
// page unless it has four entries or fewer. Those have at most 4 * (1004 + 16) + 16 bytes, with their headers and the page's.
// So bbolt never needs several free pages in a row, and free pages can be counted: see room.go.
const (
	mostEntry  = 1004 // of key and value, in bytes
	partKeyLen = 12
	partLength = mostEntry - partKeyLen
)

var (
	bucketDead  = []byte("dead")
	bucketParts = []byte("parts")
)

// partsOf returns the number of parts of a body of that length.
func partsOf(length int) int {
	if length <= mostInline {
		return 0
	}
	return (length + partLength - 1) / partLength
}

func partKey(id uint64, number uint32) []byte {
	return binary.BigEndian.AppendUint32(segment.NumberKey(id), number)
}

// letters are the two buckets of a transaction.
type letters struct {
	dead  *bolt.Bucket // nil if no letter was ever stored
	parts *bolt.Bucket // nil if no letter was ever stored in parts
}

func lettersIn(tx *bolt.Tx) letters {
	l := letters{dead: tx.Bucket(bucketDead), parts: tx.Bucket(bucketParts)}
	for _, b := range []*bolt.Bucket{l.dead, l.parts} {
		if b != nil {
			b.FillPercent = 1 // letters are stored in the order of their keys
		}
	}
	return l
}

// haveParts reports whether a letter is stored in parts.
func (l letters) haveParts() bool {
	if l.parts == nil {
		return false
	}
	k, _ := l.parts.Cursor().First()
	return k != nil
}

// put stores the body of a new letter under the next ID.
func (l letters) put(body []byte) error {
	id, err := l.dead.NextSequence()
	if err != nil {
		return err
	}
	if err := l.dead.Put(segment.NumberKey(id), letterValue(id, body, l.haveParts())); err != nil {
		return err
	}
	return eachPart(id, body, l.parts.Put)
}

// eachPart calls f for every part of the body.
func eachPart(id uint64, body []byte, f func(key, part []byte) error) error {
	for n := range partsOf(len(body)) {
		if err := f(partKey(id, uint32(n)), body[n*partLength:min((n+1)*partLength, len(body))]); err != nil {
			return err
		}
	}
	return nil
}

// body returns the body of the letter with that ID and value. It joins parts in buf, whose content it overwrites. A body
// without parts lies in value.
func (l letters) body(id uint64, value []byte, buf *[]byte) ([]byte, error) {
	h, err := decodeHead(value, id)
	if err != nil || h.body != nil {
		return h.body, err
	}
	if l.parts == nil {
		return nil, errLetterParts
	}
	*buf = (*buf)[:0]
	c := l.parts.Cursor()
	k, part := c.Seek(partKey(id, 0))
	for n := uint32(0); uint64(len(*buf)) < h.length; n++ {
		if !bytes.Equal(k, partKey(id, n)) || uint64(len(part)) != min(h.length-uint64(len(*buf)), partLength) {
			return nil, errLetterParts
		}
		*buf = append(*buf, part...)
		k, part = c.Next()
	}
	if bytes.HasPrefix(k, segment.NumberKey(id)) {
		return nil, errLetterParts
	}
	if crc32.Checksum(*buf, segment.Castagnoli) != h.sum {
		return nil, errLetterSum
	}
	return *buf, nil
}

// partKeys returns the keys of the letter's parts, also of those that do not belong to it.
func (l letters) partKeys(id uint64) (keys [][]byte) {
	if l.parts == nil {
		return nil
	}
	prefix, c := segment.NumberKey(id), l.parts.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, k)
	}
	return keys
}

// delete removes a letter and its parts. It returns the number of the parts.
func (l letters) delete(id uint64) (parts int, err error) {
	keys := l.partKeys(id)
	for _, k := range keys {
		if err := l.parts.Delete(k); err != nil {
			return 0, err
		}
	}
	return len(keys), l.dead.Delete(segment.NumberKey(id))
}
