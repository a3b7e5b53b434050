package wal_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// Written counts the pages that a commit writes, by the file before and after it. One of them, a branch, may get the content that it
// had two commits ago.
func TestWritten_CountsThePagesOfCommits(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir})
	appendOne(t, l, "s", "k", "first")
	image := func() []byte {
		b, err := os.ReadFile(segmentFiles(t, dir)[0])
		must(t, err)
		return b
	}
	for range 30 {
		before, written := image(), l.Stat().Written
		appendOne(t, l, "s", "k", string(make([]byte, 200)))
		after, pages := image(), int64(1) // a meta page
		for at := 2 * boltPage; at < len(after); at += boltPage {
			if at >= len(before) || !bytes.Equal(before[at:at+boltPage], after[at:at+boltPage]) {
				pages++
			}
		}
		if got := l.Stat().Written - written; got != pages*boltPage && got != (pages+1)*boltPage {
			t.Fatalf("got %d written bytes, want the %d pages that changed, or one more", got, pages)
		}
	}
}
