package boltpage

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

	deepest = 32 // levels of pages; a tree with more levels has a cycle
)

// Page is a page of the file with those that continue it.
type Page struct {
	id       uint64
	leaf     bool
	used     int       // bytes from the beginning of the page to the end of its last element
	Elements []Element // ascending by key
}

// Element is an entry of a page. Its key and value lie in the page's bytes.
type Element struct {
	Key, Value []byte
	child      uint64 // of a branch
	Bucket     bool   // of a leaf: value is a bucket's header
}

// Corrupt returns an error of the file's Faults for damaged content.
func (s *Snapshot) Corrupt(format string, args ...any) error { return s.file.corrupt(format, args...) }

// page reads the page that the element via refers to.
func (s *Snapshot) page(id, via uint64) (*Page, error) { return s.pageWithin(id, via, nil, nil) }

// pageWithin is page for a page whose keys must lie in [low, after).
func (s *Snapshot) pageWithin(id, via uint64, low, after []byte) (*Page, error) {
	if p := s.branches[id]; p != nil && s.owners[id] == via {
		return p, nil
	}
	if id < 2 || id >= s.end {
		return nil, s.Corrupt("page %d: not one of the pages 2 to %d", id, s.end-1)
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
		return nil, s.Corrupt("page %d: %s", id, fault)
	}
	if err := s.own(id, uint64(int64(len(buf))/s.file.pageSize), via); err != nil {
		return nil, err
	}
	if !p.leaf {
		s.branches[id] = p
	}
	return p, nil
}

// extent returns the length of the page with those that continue it: bbolt uses as many pages as the elements need.
func (p *Page) extent(pageSize int64) int64 {
	return (int64(p.used) + pageSize - 1) / pageSize * pageSize
}

func (p *Page) within(low, after []byte) bool {
	n := len(p.Elements)
	return n == 0 || bytes.Compare(p.Elements[0].Key, low) >= 0 && (after == nil || bytes.Compare(p.Elements[n-1].Key, after) < 0)
}

// read returns the bytes of a page and of those that continue it.
func (s *Snapshot) read(id uint64) ([]byte, error) {
	buf, err := s.bytes(nil, id, 1)
	if err != nil {
		return nil, err
	}
	if got := binary.NativeEndian.Uint64(buf); got != id {
		return nil, s.Corrupt("page %d: header has page id %d", id, got)
	}
	more := uint64(binary.NativeEndian.Uint32(buf[12:]))
	if more == 0 {
		return buf, nil
	}
	if more >= s.end-id {
		return nil, s.Corrupt("page %d: %d more pages belong to it, the last in use is %d", id, more, s.end-1)
	}
	return s.bytes(buf, id, 1+more)
}

// Bytes returns the bytes of n pages from id on, as they are now.
func (s *Snapshot) Bytes(id, n uint64) ([]byte, error) { return s.bytes(nil, id, n) }

// bytes is Bytes. have is the beginning of them that was read before.
func (s *Snapshot) bytes(have []byte, id, n uint64) ([]byte, error) {
	from, size := int64(id)*s.file.pageSize, int64(n)*s.file.pageSize
	if mapped := s.file.mapped; mapped != nil {
		if size > int64(len(mapped))-from {
			return nil, s.Corrupt("page %d: it lies beyond the end of the file", id)
		}
		return mapped[from : from+size : from+size], nil
	}
	buf := make([]byte, size)
	_, err := s.file.f.ReadAt(buf[copy(buf, have):], from+int64(len(have)))
	switch {
	case errors.Is(err, io.EOF):
		return nil, s.Corrupt("page %d: it lies beyond the end of the file", id)
	case err != nil:
		return nil, s.file.unread(fmt.Sprintf("page %d", id), err)
	}
	return buf, nil
}

// own records that the element via refers to the n pages from id on. It fails if another element refers to one of
// them.
func (s *Snapshot) own(id, n, via uint64) error {
	for i := range n {
		if owner, taken := s.owners[id+i]; taken && owner != via {
			return s.Corrupt("page %d: it is referred to twice", id+i)
		}
		s.owners[id+i] = via
	}
	return nil
}

// parsePage decodes a page. buf may have any content.
func parsePage(id uint64, buf []byte) (p *Page, fault string) {
	if len(buf) < pageHeader {
		return nil, "shorter than a page's header"
	}
	flags, count := binary.NativeEndian.Uint16(buf[8:]), int(binary.NativeEndian.Uint16(buf[10:]))
	if flags != branchPage && flags != leafPage {
		return nil, fmt.Sprintf("flags %#x are neither a branch's nor a leaf's", flags)
	}
	p = &Page{id: id, leaf: flags == leafPage, used: pageHeader + count*elementLength}
	if len(buf) < p.used || !p.leaf && count == 0 {
		return nil, fmt.Sprintf("%d elements on %d bytes", count, len(buf))
	}
	p.Elements = make([]Element, count)
	for i := range p.Elements {
		at := pageHeader + i*elementLength
		e, begin, end := parseElement(buf[at:], p.leaf)
		if end < 0 || at+begin != p.used { // bbolt lays them one after another
			return nil, fmt.Sprintf("element %d is not where it belongs", i)
		}
		p.used = at + end
		if i > 0 && bytes.Compare(p.Elements[i-1].Key, e.Key) >= 0 {
			return nil, fmt.Sprintf("the key of element %d is not above the one before it", i)
		}
		p.Elements[i] = e
	}
	return p, ""
}

// parseElement decodes the element at the beginning of b; b extends to the end of the page. begin and end are the
// bounds of the element's key and value in b; end is -1 if they exceed b.
func parseElement(b []byte, leaf bool) (e Element, begin, end int) {
	word := func(i int) uint64 { return uint64(binary.NativeEndian.Uint32(b[4*i:])) }
	at, keyLength, valueLength := word(0), word(1), uint64(0)
	if leaf {
		e.Bucket = word(0)&bucketFlag != 0
		at, keyLength, valueLength = word(1), word(2), word(3)
	} else {
		e.child = binary.NativeEndian.Uint64(b[8:])
	}
	keyEnd := at + keyLength
	valueEnd := keyEnd + valueLength
	if valueEnd > uint64(len(b)) {
		return e, 0, -1
	}
	e.Key, e.Value = b[at:keyEnd:keyEnd], b[keyEnd:valueEnd:valueEnd]
	return e, int(at), int(valueEnd)
}

// Find returns the index of the last element whose key is not above key, or 0.
func (p *Page) Find(key []byte) int {
	return max(0, sort.Search(len(p.Elements), func(i int) bool { return bytes.Compare(p.Elements[i].Key, key) > 0 })-1)
}
