package small

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
)

// Commit is the content of a small commit: blocks that follow those of the segment, and entries of the state.
type Commit struct{ Blocks, State []boltpage.Element }

// A page of a small commit:
//
//	0     8      9        13             21       25
//	+-----+------+--------+--------------+--------+---------
//	| sum | kind | length | transaction  | number | entries
//	|  8  |  1   |   4    |      8       |   4    |
//	+-----+------+--------+--------------+--------+---------
//
// The sum is XXH64, with the seed of the space, of everything after it; length is that of the entries. An entry is a letter for
// its bucket, and its key and its value, each after its length as a uvarint. A confirmation has no entries.
const (
	kindAt   = 8
	lengthAt = kindAt + 1
	afterAt  = lengthAt + 4
	numberAt = afterAt + 8
	header   = numberAt + 4

	aCommit, aConfirmation = 'c', 'o'
	aBlock, ofState        = 'b', 's'
)

// Encode returns the page of commit number after transaction after; nil: the commit does not fit into a page.
func (p *Space) Encode(after uint64, number int, c *Commit) []byte {
	need := header
	for _, list := range [][]boltpage.Element{c.Blocks, c.State} {
		for i := range list {
			need += 1 + 2*binary.MaxVarintLen32 + len(list[i].Key) + len(list[i].Value)
		}
	}
	if int64(need) > p.pageSize {
		return nil
	}
	page := make([]byte, header, p.pageSize)
	page = appendEntries(page, aBlock, c.Blocks)
	page = appendEntries(page, ofState, c.State)
	return p.seal(page, aCommit, after, number)
}

func appendEntries(page []byte, bucket byte, list []boltpage.Element) []byte {
	for i := range list {
		page = append(page, bucket)
		for _, b := range [][]byte{list[i].Key, list[i].Value} {
			page = append(binary.AppendUvarint(page, uint64(len(b))), b...)
		}
	}
	return page
}

// Confirmation returns the beginning of the page after that of commit number, once that is on the disk.
func (p *Space) Confirmation(after uint64, number int) []byte {
	return p.seal(make([]byte, header), aConfirmation, after, number)[:header]
}

// seal fills the header, and returns the whole page.
func (p *Space) seal(page []byte, kind byte, after uint64, number int) []byte {
	page[kindAt] = kind
	binary.BigEndian.PutUint32(page[lengthAt:], uint32(len(page)-header))
	binary.BigEndian.PutUint64(page[afterAt:], after)
	binary.BigEndian.PutUint32(page[numberAt:], uint32(number))
	binary.BigEndian.PutUint64(page, p.sum(page[kindAt:]))
	if int64(cap(page)) < p.pageSize {
		return page
	}
	return page[:p.pageSize]
}

func (p *Space) sum(b []byte) uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(p.seed)
	_, _ = d.Write(b) // never fails
	return d.Sum64()
}

// parse returns the entries of a page of that kind and place; nil: it is another one. good: its checksum is right.
func (p *Space) parse(page []byte, kind byte, after uint64, number int) (entries []byte, good bool) {
	length := int64(binary.BigEndian.Uint32(page[lengthAt:]))
	if page[kindAt] != kind || length > int64(len(page)-header) || binary.BigEndian.Uint64(page[afterAt:]) != after ||
		binary.BigEndian.Uint32(page[numberAt:]) != uint32(number) {
		return nil, false
	}
	end := header + int(length)
	return page[header:end:end], binary.BigEndian.Uint64(page) == p.sum(page[kindAt:end])
}

// decode adds the entries of a page. It reports false if they are malformed.
func (c *Commit) decode(b []byte) bool {
	for len(b) > 0 {
		bucket := b[0]
		var e boltpage.Element
		b = b[1:]
		for _, to := range []*[]byte{&e.Key, &e.Value} {
			length, n := binary.Uvarint(b)
			if n <= 0 || length > uint64(len(b)-n) {
				return false
			}
			*to, b = b[n:n+int(length):n+int(length)], b[n+int(length):]
		}
		switch {
		case bucket == aBlock && len(e.Key) == 8:
			c.Blocks = append(c.Blocks, e)
		case bucket == ofState && len(e.Key) > 0:
			c.State = append(c.State, e)
		default:
			return false
		}
	}
	return true
}
