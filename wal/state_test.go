package wal_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
)

// TestState_FlippedBitMovesNoCheckpoint: a flipped bit in the entry of a cursor, a stream or a producer must not
// change the log's state. The segment is set aside instead.
func TestState_FlippedBitMovesNoCheckpoint(t *testing.T) {
	s := newSample(t)
	l := open(t, sampleOptions(s.dir))
	p, err := l.OpenCursor("old", "d")
	must(t, err)
	p.Settle(wal.Settlement{
		Lanes: map[uint8]wal.Progress{7: {Checkpoint: 9, Settled: []wal.Run{{First: 20, Next: 25}}}},
		Add:   wal.Ledger{Delivered: wal.Count{Events: 10, Bytes: 1000}},
	})
	_, err = l.Append(t.Context(), &wal.Batch{Stream: "new", ProducerID: "gateway", ProducerSequence: 1, Events: []wal.Event{sampleEvent("new", 11)}})
	must(t, err)
	must(t, l.Close())
	newest := s.files[len(s.files)-1]
	whole, err := os.ReadFile(filepath.Join(s.dir, "wal", newest))
	must(t, err)
	for key, value := range stateOf(t, filepath.Join(s.dir, "wal", newest)) {
		t.Run(fmt.Sprintf("%q", key), func(t *testing.T) {
			t.Parallel()
			dir := s.copy(t)
			path := filepath.Join(dir, "wal", newest)
			for i := range len(key + value) {
				must(t, os.WriteFile(path, flipped(whole, []byte(key+value), i, byte(1<<(i%7))), 0o600))
				if report, err := inspect.Verify(t.Context(), dir, nil); err != nil || report.Damaged == 0 {
					t.Errorf("byte %d: verify found %d faults, %v", i, report.Damaged, err)
				}
				if i%16 != 0 {
					continue
				}
				l, err := wal.Open(t.Context(), sampleOptions(dir))
				must(t, err)
				must(t, l.Close())
				if _, err := os.Stat(path + ".corrupt"); err != nil {
					t.Errorf("byte %d of %d: a flipped bit is believed", i, len(key+value))
				}
				must(t, os.RemoveAll(dir))
				copyDir(t, dir, s.dir)
			}
		})
	}
}

// TestMeta_FlippedBitInTheLogsIDCostsOneSegment: an Open that used the flipped ID would treat the other segments as those
// of another log.
func TestMeta_FlippedBitInTheLogsIDCostsOneSegment(t *testing.T) {
	s := newSample(t)
	l := open(t, sampleOptions(s.dir))
	id := "log" + l.ID()
	must(t, l.Close())
	for i, file := range s.files {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			dir := s.copy(t)
			path := filepath.Join(dir, "wal", file)
			whole, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, flipped(whole, []byte(id), 3+i, 1), 0o600))
			s.checkDamaged(t, dir)
			aside, err := filepath.Glob(filepath.Join(dir, "wal", "*.corrupt"))
			if err != nil || len(aside) != 1 || aside[0] != path+".corrupt" {
				t.Errorf("got %q set aside, %v, want %s alone", aside, err, file)
			}
		})
	}
}

// TestDamage_MissingLastBlockGivesNoOffsetTwice: a page from an earlier commit lacks the last blocks, and is valid
// otherwise.
func TestDamage_MissingLastBlockGivesNoOffsetTwice(t *testing.T) {
	s := newSample(t)
	path := filepath.Join(s.dir, "wal", s.files[len(s.files)-1])
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bolt.Tx) error {
		c := tx.Bucket([]byte("blocks")).Cursor()
		c.Last()
		return c.Delete()
	}))
	must(t, db.Close())
	if report, err := inspect.Verify(t.Context(), s.dir, nil); err != nil || report.Damaged == 0 {
		t.Errorf("verify found %d faults, %v", report.Damaged, err)
	}
	if s.checkDamaged(t, s.dir) == 0 {
		t.Error("nothing is lost")
	}
}

// stateOf returns the entries of a segment's state.
func stateOf(t *testing.T, path string) map[string]string {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	must(t, err)
	defer db.Close()
	entries := make(map[string]string)
	must(t, db.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("state")).ForEach(func(k, v []byte) error {
			entries[string(k)] = string(v)
			return nil
		})
	}))
	return entries
}

// flipped returns a copy of b. In each occurrence of it, the copy has the given bit of byte i flipped.
func flipped(b, it []byte, i int, bit byte) []byte {
	b = bytes.Clone(b)
	for at := 0; ; {
		found := bytes.Index(b[at:], it)
		if found < 0 {
			return b
		}
		at += found
		b[at+i] ^= bit
		at++
	}
}

// A log of one segment, whose state is damaged, opens without its events, and gives no offset twice.
func TestState_DamagedInTheOnlySegment(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir})
	_, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", "v")}})
	must(t, err)
	_, err = l.OpenCursor("s", "d")
	must(t, err)
	must(t, l.Close())
	path := segmentFiles(t, dir)[0]
	whole, err := os.ReadFile(path)
	must(t, err)
	for key, value := range stateOf(t, path) {
		must(t, os.WriteFile(path, flipped(whole, []byte(key+value), len(key), 1), 0o600))
		break
	}
	l = open(t, wal.Options{Dir: dir})
	got, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", "v")}})
	must(t, err)
	if got.First <= 2 {
		t.Errorf("got the offset %d, want one that the lost segment cannot have had", got.First)
	}
}
