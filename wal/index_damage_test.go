package wal_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
)

// editBolt changes a segment's file through bbolt.
func editBolt(t testing.TB, path string, change func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(change))
	must(t, db.Close())
}

func dropIndex(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("index")) }

func emptyIndex(tx *bolt.Tx) error {
	if err := dropIndex(tx); err != nil {
		return err
	}
	_, err := tx.CreateBucket([]byte("index"))
	return err
}

// crashBeforeSealing makes a segment look as after a crash that came when the next segment existed and this one was not
// yet sealed.
func crashBeforeSealing(tx *bolt.Tx) error {
	if err := tx.Bucket([]byte("meta")).Delete([]byte("sealed")); err != nil {
		return err
	}
	return dropIndex(tx)
}

// swapIndex stores each part of the index under a wrong key.
func swapIndex(tx *bolt.Tx) error {
	bucket := tx.Bucket([]byte("index"))
	parts := make(map[string][]byte)
	if err := bucket.ForEach(func(k, v []byte) error {
		parts[string(k)+"x"] = bytes.Clone(v)
		return nil
	}); err != nil {
		return err
	}
	for k, v := range parts {
		if err := bucket.Put([]byte(k), v); err != nil {
			return err
		}
	}
	return nil
}

// eventsOf returns the number of events according to the block's header.
func eventsOf(block []byte) uint64 { return uint64(binary.BigEndian.Uint32(block[13:])) }

func TestIndex_SegmentWithoutAGoodOneIsReadAsBefore(t *testing.T) {
	s := newSample(t)
	for name, change := range map[string]func(tx *bolt.Tx) error{
		"none":                   dropIndex,
		"empty":                  emptyIndex,
		"a crash before sealing": crashBeforeSealing,
		"wrong keys":             swapIndex,
	} {
		t.Run(name, func(t *testing.T) {
			dir := s.copy(t)
			for _, path := range segmentFiles(t, dir)[:len(s.files)-1] {
				editBolt(t, path, change)
			}
			if got := verify(t, dir); (got.Damaged > 0) != (name != "a crash before sealing") {
				t.Errorf("got damage %v", got.Damage)
			}
			in, err := inspect.Inspect(t.Context(), dir)
			must(t, err)
			checkHeld(t, in, &s)
			if lost := s.checkDamaged(t, dir); lost != 0 {
				t.Errorf("got %d events lost", lost)
			}
		})
	}
}

// checkHeld checks that an inspection finds all events of the sample.
func checkHeld(t *testing.T, in *inspect.Inspection, s *sample) {
	t.Helper()
	held := make(map[string]wal.Count)
	for _, seg := range in.Segments {
		for _, st := range seg.Streams {
			held[st.Stream] = held[st.Stream].Plus(st.Held)
		}
	}
	for stream, want := range s.appended {
		if held[stream] != want {
			t.Errorf("%s: got %+v held, want %+v", stream, held[stream], want)
		}
	}
}

// A block that cannot be read, in a segment without an index, is counted as lost and not skipped silently.
func TestIndex_DamagedBlockIsDetectedWithoutIt(t *testing.T) {
	s := newSample(t)
	dir := s.copy(t)
	path := segmentFiles(t, dir)[1]
	held := uint64(0)
	editBolt(t, path, func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte("blocks"))
		k, v := bucket.Cursor().Seek([]byte{0, 0, 0, 0, 0, 0, 0, 7})
		held = eventsOf(v)
		bad := bytes.Clone(v)
		bad[10] ^= 1
		if err := bucket.Put(bytes.Clone(k), bad); err != nil {
			return err
		}
		return dropIndex(tx)
	})
	if lost := s.checkDamaged(t, dir); lost != held {
		t.Errorf("got %d events lost, want the %d of the block", lost, held)
	}
}

// The index gives the exact number of events of a block that is missing or whose header cannot be read.
func TestIndex_NamesTheEventsOfADamagedBlock(t *testing.T) {
	s := newSample(t)
	dir := s.copy(t)
	path := segmentFiles(t, dir)[1]
	held := uint64(0)
	editBolt(t, path, func(tx *bolt.Tx) error {
		bucket, key := tx.Bucket([]byte("blocks")), []byte{0, 0, 0, 0, 0, 0, 0, 7}
		held = eventsOf(bucket.Get(key))
		return bucket.Delete(key)
	})
	if got := verify(t, dir); got.Damaged != 1 || got.Damage[0].Stream != "old" {
		t.Errorf("got %v, want the block", got.Damage)
	}
	if lost := s.checkDamaged(t, dir); lost != held {
		t.Errorf("got %d events lost, want the %d of the block", lost, held)
	}
}

// An index that is damaged while the log is open is built again.
func TestIndex_ThatGoesBadIsRebuilt(t *testing.T) {
	s := newSample(t)
	dir := s.copy(t)
	l := open(t, sampleOptions(dir))
	damaged := 0
	for _, path := range segmentFiles(t, dir)[:len(s.files)-1] {
		b, err := os.ReadFile(path)
		must(t, err)
		for at := 0; at < len(b); at += boltPage {
			if i := bytes.Index(b[at:min(at+boltPage, len(b))], []byte("\x03old\x00\x00\x00\x00\x00")); i >= 0 { // a key of the index
				overwrite(t, path, int64(at+i+4+8+10), []byte("bad"))
				damaged++
			}
		}
	}
	if damaged < 3 {
		t.Fatalf("got %d indexes damaged", damaged)
	}
	if got := readAll(t, l, "old", 1, wal.AllLanes); uint64(len(got)) != s.next["old"]-1 {
		t.Errorf("got %d events, want %d", len(got), s.next["old"]-1)
	}
	if st := l.Stat(); st.Segments != len(s.files) {
		t.Errorf("got %d segments, want %d", st.Segments, len(s.files))
	}
}

// Streams that share segments are read independently: damage to the blocks of one affects no other.
func TestIndex_DamagedBlockOfOneStreamHarmsNoOther(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir, SegmentSize: 64 << 10})
	for i := range 200 {
		for stream := range 5 {
			appendOne(t, l, fmt.Sprint("s", stream), "k", fmt.Sprintf("%d of s%d %0*d", i, stream, i*stream, 0))
		}
	}
	must(t, l.Close())
	for _, path := range segmentFiles(t, dir) {
		edit(t, path, func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(" of s3 "), []byte(" of sX ")) })
	}
	l = open(t, wal.Options{Dir: dir, SegmentSize: 64 << 10})
	for _, stream := range []string{"s0", "s1", "s2", "s4"} {
		got := readAll(t, l, stream, 1, wal.AllLanes)
		if len(got) != 200 {
			t.Fatalf("%s: got %d events, want 200", stream, len(got))
		}
		for i, e := range got {
			if want := fmt.Sprintf("%d of %s ", i, stream); !bytes.HasPrefix(e.Data, []byte(want)) {
				t.Errorf("got %q, want %q", e.Data, want)
			}
		}
	}
	if _, err := l.Read("s3", 1, wal.AllLanes, 1); err == nil {
		t.Error("a damaged block is read")
	}
}
