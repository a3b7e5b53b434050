package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
)

const (
	branchPage = 1
	leafPage   = 2

	elementLength = 16 // of both kinds of page
	bucketFlag    = 1  // of a leaf's element
	bucketHeader  = 16 // root page and sequence, before a bucket that lies in its parent's page

	deepest = 32 // levels of pages; a tree that has more goes in circles
)

// page is a copy of a bbolt page with all that follows it.
type page struct {
	id       uint64
	leaf     bool
	used     int       // bytes, from the page's begin to the end of its last element
	elements []element // ascending by key
}

// element is an entry of a page.
type element struct {
	key, value []byte
	child      uint64 // of a branch
	bucket     bool   // of a leaf: value is a bucket's header
}

// corrupt returns the error of content that is not as it should be, in the sense of the file's user.
func (s *snapshot) corrupt(format string, args ...any) error { return s.file.corrupt(format, args...) }

// page reads the page that the element via refers to.
func (s *snapshot) page(id, via uint64) (*page, error) { return s.pageWithin(id, via, nil, nil) }

// pageWithin is page for one whose keys must lie in [low, after).
func (s *snapshot) pageWithin(id, via uint64, low, after []byte) (*page, error) {
	if p := s.branches[id]; p != nil && s.owners[id] == via {
		return p, nil
	}
	if id < 2 || id >= s.end {
		return nil, s.corrupt("page %d: not one of the pages 2 to %d", id, s.end-1)
	}
	buf, err := s.read(id)
	if err != nil {
		return nil, err
	}
	p, fault := parsePage(id, buf)
	if fault == "" && p.extent(s.file.pageSize) != int64(len(buf)) {
		fault = fmt.Sprintf("it has %d bytes, and uses %d of them", len(buf), p.used)
	}
	if fault == "" && !p.within(low, after) {
		fault = "its keys belong elsewhere"
	}
	if fault != "" {
		return nil, s.corrupt("page %d: %s", id, fault)
	}
	if err := s.own(id, uint64(int64(len(buf))/s.file.pageSize), via); err != nil {
		return nil, err
	}
	if !p.leaf {
		s.branches[id] = p
	}
	return p, nil
}

// extent returns how many bytes the page and those that continue it have: bbolt takes no more than
// the elements need.
func (p *page) extent(pageSize int64) int64 {
	return (int64(p.used) + pageSize - 1) / pageSize * pageSize
}

func (p *page) within(low, after []byte) bool {
	n := len(p.elements)
	return n == 0 || bytes.Compare(p.elements[0].key, low) >= 0 && (after == nil || bytes.Compare(p.elements[n-1].key, after) < 0)
}

// read returns the bytes of a page and of those that continue it.
func (s *snapshot) read(id uint64) ([]byte, error) {
	buf, err := s.bytes(nil, id, 1)
	if err != nil {
		return nil, err
	}
	if got := binary.NativeEndian.Uint64(buf); got != id {
		return nil, s.corrupt("page %d: it says that it is page %d", id, got)
	}
	more := uint64(binary.NativeEndian.Uint32(buf[12:]))
	if more == 0 {
		return buf, nil
	}
	if more >= s.end-id {
		return nil, s.corrupt("page %d: %d more pages belong to it, the last in use is %d", id, more, s.end-1)
	}
	return s.bytes(buf, id, 1+more)
}

// bytes returns those of n pages from id on, of which it has some already.
func (s *snapshot) bytes(have []byte, id, n uint64) ([]byte, error) {
	from, size := int64(id)*s.file.pageSize, int64(n)*s.file.pageSize
	if mapped := s.file.mapped; mapped != nil {
		if size > int64(len(mapped))-from {
			return nil, s.corrupt("page %d: it lies beyond the end of the file", id)
		}
		return mapped[from : from+size : from+size], nil
	}
	buf := make([]byte, size)
	_, err := s.file.f.ReadAt(buf[copy(buf, have):], from+int64(len(have)))
	switch {
	case errors.Is(err, io.EOF):
		return nil, s.corrupt("page %d: it lies beyond the end of the file", id)
	case err != nil:
		return nil, s.file.unread(fmt.Sprintf("page %d", id), err)
	}
	return buf, nil
}

// own notes that the n pages from id on are reached by way of the element via, and no other.
func (s *snapshot) own(id, n, via uint64) error {
	for i := range n {
		if owner, taken := s.owners[id+i]; taken && owner != via {
			return s.corrupt("page %d: it is referred to twice", id+i)
		}
		s.owners[id+i] = via
	}
	return nil
}

// parsePage trusts nothing.
func parsePage(id uint64, buf []byte) (p *page, fault string) {
	if len(buf) < pageHeader {
		return nil, "shorter than a page's header"
	}
	flags, count := binary.NativeEndian.Uint16(buf[8:]), int(binary.NativeEndian.Uint16(buf[10:]))
	if flags != branchPage && flags != leafPage {
		return nil, fmt.Sprintf("flags %#x are neither a branch's nor a leaf's", flags)
	}
	p = &page{id: id, leaf: flags == leafPage, used: pageHeader + count*elementLength}
	if len(buf) < p.used || !p.leaf && count == 0 {
		return nil, fmt.Sprintf("%d elements on %d bytes", count, len(buf))
	}
	p.elements = make([]element, count)
	for i := range p.elements {
		at := pageHeader + i*elementLength
		e, begin, end := parseElement(buf[at:], p.leaf)
		if end < 0 || at+begin != p.used { // bbolt lays them one after another
			return nil, fmt.Sprintf("element %d is not where it belongs", i)
		}
		p.used = at + end
		if i > 0 && bytes.Compare(p.elements[i-1].key, e.key) >= 0 {
			return nil, fmt.Sprintf("the key of element %d is not above the one before it", i)
		}
		p.elements[i] = e
	}
	return p, ""
}

// parseElement reads the element that b begins with; b goes on to the end of the page. begin and end
// are where the element's key and value lie in b; end is -1 when that is beyond it.
func parseElement(b []byte, leaf bool) (e element, begin, end int) {
	word := func(i int) uint64 { return uint64(binary.NativeEndian.Uint32(b[4*i:])) }
	at, keyLength, valueLength := word(0), word(1), uint64(0)
	if leaf {
		e.bucket = word(0)&bucketFlag != 0
		at, keyLength, valueLength = word(1), word(2), word(3)
	} else {
		e.child = binary.NativeEndian.Uint64(b[8:])
	}
	keyEnd := at + keyLength
	valueEnd := keyEnd + valueLength
	if valueEnd > uint64(len(b)) {
		return e, 0, -1
	}
	e.key, e.value = b[at:keyEnd:keyEnd], b[keyEnd:valueEnd:valueEnd]
	return e, int(at), int(valueEnd)
}

// find returns the last element whose key is not above key, or the first.
func (p *page) find(key []byte) int {
	return max(0, sort.Search(len(p.elements), func(i int) bool { return bytes.Compare(p.elements[i].key, key) > 0 })-1)
}

// tree is a bucket.
type tree struct {
	root   uint64
	via    uint64
	inline *page // a small bucket, which lies in its parent's page
	// sequence is the bucket's; of the blocks, the number of the last one, or 0 if nobody noted it.
	sequence uint64
}

// bucket returns the bucket of that name, or nil.
func (s *snapshot) bucket(name []byte) (*tree, error) {
	leaf, _, err := s.leaf(&tree{root: s.root}, name)
	if err != nil || len(leaf.elements) == 0 {
		return nil, err
	}
	i := leaf.find(name)
	e := leaf.elements[i]
	if !bytes.Equal(e.key, name) {
		return nil, nil
	}
	if !e.bucket || len(e.value) < bucketHeader {
		return nil, s.corrupt("page %d: %q is no bucket", leaf.id, name)
	}
	t, fault := innerTree(leaf, i)
	if fault != "" {
		return nil, s.corrupt("page %d: the bucket %q in it is no leaf; %s", leaf.id, name, fault)
	}
	return t, nil
}

// innerTree returns the bucket that an element of a leaf stands for.
func innerTree(leaf *page, i int) (t *tree, fault string) {
	e := leaf.elements[i]
	t = &tree{root: binary.NativeEndian.Uint64(e.value), via: leaf.id<<16 | uint64(i), sequence: binary.NativeEndian.Uint64(e.value[8:])}
	if t.root == 0 {
		if t.inline, fault = parsePage(leaf.id, e.value[bucketHeader:]); fault == "" && !t.inline.leaf {
			fault = "it is a branch"
		}
	}
	return t, fault
}

// leaf returns the leaf of t where key is, or would be, and the first key beyond that leaf; nil
// when the leaf is the last. after is good also with an error: what can't be read ends there.
func (s *snapshot) leaf(t *tree, key []byte) (leaf *page, after []byte, err error) {
	if t.inline != nil {
		return t.inline, nil, nil
	}
	id, via, low := t.root, t.via, []byte(nil)
	for range deepest {
		p, err := s.pageWithin(id, via, low, after)
		if err != nil {
			return nil, after, err
		}
		if p.leaf {
			return p, after, nil
		}
		i := p.find(key)
		if i+1 < len(p.elements) {
			after = p.elements[i+1].key
		}
		low, via, id = p.elements[i].key, id<<16|uint64(i), p.elements[i].child
	}
	return nil, after, s.corrupt("page %d: over %d pages above it", id, deepest)
}

// value returns what a bucket has under key, or nil.
func (s *snapshot) value(bucket, key []byte) ([]byte, error) {
	leaf, _, err := s.leafOf(bucket, key)
	if err != nil || leaf == nil || len(leaf.elements) == 0 {
		return nil, err
	}
	if e := leaf.elements[leaf.find(key)]; bytes.Equal(e.key, key) {
		return e.value, nil
	}
	return nil, nil
}
