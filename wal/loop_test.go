package wal_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// TestPages_ThatLeadBackToThemselvesEndNoAgent: bbolt would follow such pages until its stack overflows or memory runs
// out.
func TestPages_ThatLeadBackToThemselvesEndNoAgent(t *testing.T) {
	s := newSample(t)
	for i, file := range s.files {
		t.Run(file, func(t *testing.T) {
			dir := s.copy(t)
			if loopBranches(t, filepath.Join(dir, "wal", file)) == 0 && i < len(s.files)-1 {
				t.Error("got no branch in a sealed segment")
			}
			s.checkDamaged(t, dir)
		})
	}
}

// loopBranches makes all branch pages of a bbolt file their own children, and returns the number of these pages.
func loopBranches(t *testing.T, path string) (branches int) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	for at := 2 * os.Getpagesize(); at < len(b); at += os.Getpagesize() {
		p := b[at:]
		const isBranch, header, element = 1, 16, 16
		if id := binary.NativeEndian.Uint64(p); id != uint64(at/os.Getpagesize()) || binary.NativeEndian.Uint16(p[8:]) != isBranch {
			continue
		}
		branches++
		for i := range int(binary.NativeEndian.Uint16(p[10:])) {
			copy(p[header+i*element+8:], p[:8])
		}
	}
	must(t, os.WriteFile(path, b, 0o600))
	return branches
}
