package wal_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// FuzzDamagedLog changes the files of a log. The log must still open and close, return only appended events, and count
// the others as dropped. Each change is six bytes; see harm.
func FuzzDamagedLog(f *testing.F) {
	s := newSample(f)
	var whole [][]byte
	for _, file := range s.files {
		b, err := os.ReadFile(filepath.Join(s.dir, "wal", file))
		must(f, err)
		whole = append(whole, b)
	}
	f.Add([]byte{0, 0, 0, 48, 0, 1})
	f.Add([]byte{1, 12, 0, 8, 0, 3, 2, 3, 0, 20, 7, 255})
	for page := range uint8(24) {
		f.Add([]byte{0x40, page, 0, 2, 0, page}) // if the page is a branch, its first child is the page itself
		f.Add([]byte{0x81, page, 0, 0, 0, page - 1})
	}
	f.Fuzz(func(t *testing.T, changes []byte) {
		files := slices.Clone(whole)
		for c := range slices.Chunk(changes, 6) {
			if len(c) == 6 {
				i := int(c[0]&0x3f) % len(files)
				files[i] = harm(slices.Clone(files[i]), c)
			}
		}
		dir := s.copy(t)
		for i, b := range files {
			must(t, os.WriteFile(filepath.Join(dir, "wal", s.files[i]), b, 0o600))
		}
		s.checkDamaged(t, dir)
	})
}

// harm applies the change c to b. The two high bits of c's first byte are the kind of change, the second byte is the
// page, the next two are the position in the page, and the last two are the value.
func harm(b, c []byte) []byte {
	const pageSize, header, word = 4096, 16, 4
	pages := len(b) / pageSize
	if pages == 0 {
		return b
	}
	kind, page := c[0]>>6, b[int(c[1])%pages*pageSize:]
	where, by := binary.BigEndian.Uint16(c[2:]), binary.BigEndian.Uint16(c[4:])
	switch {
	case kind == 3 && c[2] == 0:
		return b[:int(by)%pages*pageSize+int(c[3])]
	case kind == 1: // a word of an element: a flag, a position, a length, a child
		binary.NativeEndian.PutUint32(page[header+int(where)%64*word:], uint32(by))
	case kind == 2: // another page overwrites the page
		copy(page[:pageSize], b[int(by)%pages*pageSize:])
	default:
		page[where%pageSize] ^= byte(by)
	}
	return b
}
