package wal_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"hash/fnv"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
	"github.com/standpipe/standpipe/wal/inspect"
)

// A later release has written a part of the log, and an operator returns to this release. Open changes nothing, so that
// the later release loses nothing when it starts again.
func TestVersion_OfALaterReleaseIsRefused(t *testing.T) {
	s := newSample(t)
	dead := deadletter.Open(s.dir, deadletter.Options{})
	for offset := range uint64(3) {
		must(t, dead.Put(deadletter.Letter{Stream: "old", Destination: "d", Event: wal.Event{Key: "k", Offset: offset + 1}, Reason: "r", At: time.Now()}))
	}
	must(t, dead.Close())
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	newest := len(s.files) - 1
	for _, tt := range []struct {
		part  string
		file  int // index of the sample's segment; -1: the dead letters
		write func(t *testing.T, path string, version byte)
	}{
		{"segment", 0, rewriteSegmentVersion},
		{"segment", r.IntN(newest), rewriteSegmentVersion},
		{"segment", newest, rewriteSegmentVersion},
		{"bbolt", r.IntN(newest), rewriteBoltVersion},
		{"bbolt", newest, rewriteBoltVersion},
		{"block", 0, rewriteFirst("blocks")},
		{"block", r.IntN(newest), rewriteLast("blocks")},
		{"block", newest, rewriteFirst("blocks")},
		{"block", newest, rewriteLast("blocks")},
		{"index", r.IntN(newest), rewriteLast("index")},
		{"place", newest, rewriteCursorVersion},
		{"dead letter", -1, rewriteLast("dead")},
		{"bbolt", -1, rewriteBoltVersion},
	} {
		version := byte(r.IntN(252) + 4)
		t.Run(tt.part, func(t *testing.T) {
			dir := s.copy(t)
			path := filepath.Join(dir, "dead.db")
			if tt.file >= 0 {
				path = filepath.Join(dir, "wal", s.files[tt.file])
			}
			sound, err := os.ReadFile(path)
			must(t, err)
			tt.write(t, path, version)
			before := contents(t, dir)
			l, err := wal.Open(t.Context(), sampleOptions(dir))
			if err == nil {
				l.Close()
			}
			wantLater(t, err, path, tt.part, version)
			if after := contents(t, dir); !maps.Equal(before, after) {
				t.Errorf("the folder was changed: got %v, want %v", slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
			}
			if tt.file >= 0 {
				wantToolsToSay(t, dir, tt.part)
			}
			must(t, os.WriteFile(path, sound, 0o600))
			if lost := s.checkDamaged(t, dir); lost != 0 {
				t.Errorf("got %d events lost once the later release is back", lost)
			}
		})
	}
}

// Open does not read a block in the middle of a sealed segment. A reader of the block gets an error, and nothing is
// lost.
func TestVersion_OfALaterReleaseMetByAReaderLosesNothing(t *testing.T) {
	s := newSample(t)
	dir := s.copy(t)
	path := filepath.Join(dir, "wal", s.files[1])
	rewriteBucket(t, path, "blocks", func(c *bolt.Cursor) ([]byte, []byte) { c.First(); return c.Next() }, func(_, v []byte) { v[0] = 9 })
	l, err := wal.Open(t.Context(), sampleOptions(dir))
	must(t, err)
	defer l.Close()
	chunk, err := wal.Chunk{Next: 1}, error(nil)
	for err == nil && !chunk.End {
		chunk, err = l.Read("old", chunk.Next, wal.AllLanes, 1<<20)
	}
	wantLater(t, err, path, "block", 9)
	var corrupt *wal.CorruptError
	if st := l.Cursors("old")[0].Stat(); errors.As(err, &corrupt) || st.Pending.Events != s.next["old"]-1 {
		t.Errorf("got %v with %+v, want all pending", err, st)
	}
}

// wantToolsToSay checks that the tools return an error for a file of a later release. If only a part of the file is of
// a later release, they must skip that part, report it and go on.
func wantToolsToSay(t *testing.T, dir, part string) {
	t.Helper()
	_, inspected := inspect.Inspect(t.Context(), dir)
	report, verified := inspect.Verify(t.Context(), dir, nil)
	dumped := inspect.Dump(t.Context(), dir, inspect.DumpOptions{Damaged: func(*wal.CorruptError) {}}, func(inspect.DumpedEvent) error { return nil })
	if part == "segment" || part == "bbolt" {
		for tool, err := range map[string]error{"Inspect": inspected, "Verify": verified, "Dump": dumped} {
			var later *wal.VersionError
			if !errors.As(err, &later) {
				t.Errorf("%s: got %v, want a VersionError", tool, err)
			}
		}
		return
	}
	must(t, errors.Join(inspected, verified, dumped))
	if len(report.Damage) == 0 || !strings.Contains(report.Damage[0].Error(), "written by a later release: "+part+" version") {
		t.Errorf("got %v, want the %s of a later release", report.Damage, part)
	}
}

func wantLater(t *testing.T, err error, path, part string, version byte) {
	t.Helper()
	want := wal.VersionError{File: path, Part: part, Got: uint64(version)}
	var got *wal.VersionError
	if !errors.As(err, &got) {
		t.Errorf("got %v, want a VersionError of %+v", err, want)
		return
	}
	if want.Known = got.Known; *got != want || got.Known == 0 || !strings.Contains(err.Error(), path+" was written by a later release") {
		t.Errorf("got %+v, %v, want %+v", *got, err, want)
	}
}

// contents returns every file below dir except the lock, whose text depends on its last holder.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "LOCK" {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = string(data)
		return err
	}))
	return files
}

func rewriteSegmentVersion(t *testing.T, path string, version byte) {
	rewriteBucket(t, path, "meta", func(c *bolt.Cursor) ([]byte, []byte) { return c.Seek([]byte("version")) }, func(_, v []byte) { v[0] = version })
}

func rewriteFirst(bucket string) func(t *testing.T, path string, version byte) {
	return func(t *testing.T, path string, version byte) {
		rewriteBucket(t, path, bucket, (*bolt.Cursor).First, func(_, v []byte) { v[0] = version })
	}
}

func rewriteLast(bucket string) func(t *testing.T, path string, version byte) {
	return func(t *testing.T, path string, version byte) {
		rewriteBucket(t, path, bucket, (*bolt.Cursor).Last, func(_, v []byte) { v[0] = version })
	}
}

// rewriteCursorVersion changes the version of a destination's cursor, and the checksum after it.
func rewriteCursorVersion(t *testing.T, path string, version byte) {
	rewriteBucket(t, path, "state", func(c *bolt.Cursor) ([]byte, []byte) { return c.Seek([]byte{'d'}) }, func(k, v []byte) {
		v[0] = version
		n := len(v) - 4
		binary.BigEndian.PutUint32(v[n:], crc32.Checksum(slices.Concat(k, v[:n]), crc32.MakeTable(crc32.Castagnoli)))
	})
}

// rewriteBucket changes the value that find returns. It removes the digest, which would not match: a later release has
// one of its own.
func rewriteBucket(t *testing.T, path, bucket string, find func(c *bolt.Cursor) (k, v []byte), change func(k, v []byte)) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true})
	must(t, err)
	must(t, db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		k, v := find(b.Cursor())
		k, v = slices.Clone(k), slices.Clone(v)
		change(k, v)
		if meta := tx.Bucket([]byte("meta")); meta != nil {
			must(t, meta.Delete([]byte("digest")))
		}
		return b.Put(k, v)
	}))
	must(t, db.Close())
}

// rewriteBoltVersion changes the version of bbolt's format in both meta pages.
func rewriteBoltVersion(t *testing.T, path string, version byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	for page := range 2 {
		meta := data[page*os.Getpagesize()+16:][:64]
		binary.NativeEndian.PutUint32(meta[4:], uint32(version))
		sum := fnv.New64a()
		sum.Write(meta[:56])
		binary.NativeEndian.PutUint64(meta[56:], sum.Sum64())
	}
	must(t, os.WriteFile(path, data, 0o600))
}
