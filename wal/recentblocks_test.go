package wal_test

import (
	"errors"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/recent"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// recentOf returns the number of recent blocks in a segment.
func recentOf(t *testing.T, path string) (n int) {
	t.Helper()
	must(t, boltpage.View(path, segment.FileFaults{}, func(s *boltpage.Snapshot) error {
		blocks, err := recent.Read(s)
		n = len(blocks)
		return err
	}))
	return n
}

// The release that wrote a segment of version 1 or 2 would not find recent blocks in it, and would use their numbers again.
func TestRecent_SegmentOfAnOlderReleaseHasNone(t *testing.T) {
	for _, older := range []bool{false, true} {
		dir := t.TempDir()
		l := open(t, wal.Options{Dir: dir, SegmentSize: 64 << 10}) // too short for small commits
		appendOne(t, l, "s", "k", "first")
		must(t, l.Close())
		path := segmentFiles(t, dir)[0]
		if older {
			db, err := bolt.Open(path, 0o600, nil)
			must(t, err)
			must(t, errors.Join(db.Update(func(tx *bolt.Tx) error {
				meta := tx.Bucket(segment.BucketMeta)
				return errors.Join(meta.Delete(segment.KeyDigest), meta.Put([]byte("version"), []byte{1}))
			}), db.Close()))
		}
		l = open(t, wal.Options{Dir: dir})
		for range 3 {
			appendOne(t, l, "s", "k", "small")
		}
		must(t, l.Close())
		if got, want := recentOf(t, path), map[bool]int{false: 3, true: 0}[older]; got != want {
			t.Errorf("older %v: got %d recent blocks, want %d", older, got, want)
		}
		wantSound(t, dir)
	}
}

// A sealed segment has no recent blocks, and all of its events are read after the roll.
func TestRecent_SealedSegmentHasNone(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir, SegmentSize: 64 << 10})
	events := 0
	for len(segmentFiles(t, dir)) < 4 {
		appendOne(t, l, "s", "k", string(make([]byte, 200)))
		events++
	}
	if got := len(readAll(t, l, "s", 1, wal.AllLanes)); got != events {
		t.Errorf("got %d events, want %d", got, events)
	}
	must(t, l.Close())
	for _, path := range segmentFiles(t, dir)[:2] {
		if got := recentOf(t, path); got != 0 {
			t.Errorf("got %d recent blocks in %s, want none", got, path)
		}
	}
	wantSound(t, dir)
}
