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
	l := open(t, wal.Options{Dir: dir, SegmentSize: 250 << 10}) // too short for small commits
	appendOne(t, l, "s", "k", "first")
	appendOne(t, l, "s", "k", "second") // blocks are written ahead for the next appends
	for range 20 {
		written := l.Stat().Written
		pages := changedBy(t, dir, func() { appendOne(t, l, "s", "k", string(make([]byte, 200))) })
		if got := l.Stat().Written - written; got != pages*boltPage && got != (pages+1)*boltPage {
			t.Fatalf("got %d written bytes, want the %d pages that changed, or one more", got, pages)
		}
	}
}

// changedBy returns the number of pages of the newest segment that change changes, of the meta pages one.
func changedBy(t *testing.T, dir string, change func()) (pages int64) {
	t.Helper()
	image := func() []byte {
		files := segmentFiles(t, dir)
		b, err := os.ReadFile(files[len(files)-1])
		must(t, err)
		return b
	}
	before := image()
	change()
	after := image()
	for at := 2 * boltPage; at < len(after); at += boltPage {
		if at >= len(before) || !bytes.Equal(before[at:at+boltPage], after[at:at+boltPage]) {
			pages++
		}
	}
	return pages + 1
}

// A commit of a few small events writes the last leaf of the blocks again. That leaf has one page, so most commits write five: also two
// branches, the leaf of the buckets, and a meta page.
func TestWritten_BySmallGroups(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir})
	group := func(events int) {
		b := &wal.Batch{Stream: "s"}
		for range events {
			b.Events = append(b.Events, event("k", string(make([]byte, 200))))
		}
		_, err := l.Append(t.Context(), b)
		must(t, err)
	}
	for range 200 {
		group(20) // so that there are two levels of branches
	}
	const commits = 90
	for _, events := range []int{5, 7} {
		group(events)
		pages := int64(0)
		for range commits {
			pages += changedBy(t, dir, func() { group(events) })
		}
		if got := float64(pages) / commits; got > 5.6 {
			t.Errorf("%d events: got %.2f pages a commit, want at most 5.6", events, got)
		}
	}
}

// A commit of a small event writes one page. Each 64th transaction or so stores them in their buckets, and writes a page for about a
// dozen of them, with the pages above.
func TestWritten_BySmallEvents(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir})
	b := &wal.Batch{Stream: "s"}
	for range 20 {
		b.Events = append(b.Events, event("k", string(make([]byte, 200))))
	}
	for range 200 { // so that there are two levels of branches
		_, err := l.Append(t.Context(), b)
		must(t, err)
	}
	const commits = 195 // three times those of a segment's pages
	before := l.Stat().Written
	for range commits {
		appendOne(t, l, "s", "k", string(make([]byte, 200)))
	}
	if got := float64(l.Stat().Written-before) / boltPage / commits; got > 1.4 {
		t.Errorf("got %.2f pages a commit, want at most 1.4", got)
	}
}
