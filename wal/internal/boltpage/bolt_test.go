package boltpage_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
)

// faults makes errors that name their kind.
type faults struct{}

func (faults) Corrupt(_, reason string) error { return errors.New("corrupt: " + reason) }

func (faults) Unread(_, part string, err error) error {
	return fmt.Errorf("unread: %s: %w", part, err)
}

func (faults) Later(_ string, got, known uint64) error {
	return fmt.Errorf("later: %d, known is %d", got, known)
}

// written returns the content of a file that bbolt has written: an empty bucket, one that is inline, one with several
// levels of pages, and one with values of several pages.
func written() map[string]map[string][]byte {
	buckets := map[string]map[string][]byte{"empty": {}, "inline": {"k": []byte("v"), "": nil}, "deep": {}, "large": {}}
	delete(buckets["inline"], "") // bbolt rejects empty keys
	for i := range 20_000 {
		buckets["deep"][fmt.Sprintf("key %06d", i)] = bytes.Repeat([]byte{byte(i)}, i%90)
	}
	for i := range 20 {
		buckets["large"][fmt.Sprintf("key %02d", i)] = bytes.Repeat([]byte{byte(i)}, 3_000*i)
	}
	return buckets
}

// writeFile writes the content with the linked version of bbolt, in several transactions, so that some pages are free.
func writeFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bolt.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, entries := range written() {
		err := db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucket([]byte(name))
			if err != nil {
				return err
			}
			for k, v := range entries {
				if err := b.Put([]byte(k), v); err != nil {
					return err
				}
			}
			return b.SetSequence(uint64(len(entries)))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// A version of bbolt with another format fails here.
func TestBolt_FormatIsTheOneThatTheLinkedVersionWrites(t *testing.T) {
	path := writeFile(t)
	for _, mapped := range []bool{false, true} {
		f, err := boltpage.Open(path, faults{})
		if err == nil && mapped {
			err = f.Map()
		}
		if err != nil {
			t.Fatal(err)
		}
		s, err := f.Snapshot()
		if err != nil || s.OneMeta() {
			t.Fatalf("got %v, one meta page alone is valid: %t", err, s.OneMeta())
		}
		for name, want := range written() {
			b, err := s.Bucket([]byte(name))
			if err != nil || b == nil || b.Sequence != uint64(len(want)) {
				t.Fatalf("bucket %q: got %+v, %v, want sequence %d", name, b, err, len(want))
			}
			got, last := 0, []byte(nil)
			c := s.Cursor(b)
			for k, v := c.Next(); k != nil; k, v = c.Next() {
				if w, ok := want[string(k)]; !ok || !bytes.Equal(v, w) || bytes.Compare(k, last) <= 0 {
					t.Fatalf("bucket %q: key %q has %d bytes, want %d; the key before it was %q", name, k, len(v), len(w), last)
				}
				last = bytes.Clone(k)
				got++
			}
			if got != len(want) {
				t.Errorf("bucket %q: got %d entries, want %d", name, got, len(want))
			}
		}
		if b, err := s.Bucket([]byte("absent")); b != nil || err != nil {
			t.Errorf("got the bucket %+v, %v, want none", b, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestBolt_FileIsCheckedWhole(t *testing.T) {
	path := writeFile(t)
	counts := make(map[string]int)
	check := func() error {
		return boltpage.View(path, faults{}, func(s *boltpage.Snapshot) error {
			return s.Check(func(name []byte, _ uint64) func(boltpage.Element) error {
				return func(boltpage.Element) error { counts[string(name)]++; return nil }
			})
		})
	}
	if err := check(); err != nil {
		t.Fatal(err)
	}
	for name, entries := range written() {
		if counts[name] != len(entries) {
			t.Errorf("bucket %q: got %d entries, want %d", name, counts[name], len(entries))
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size := os.Getpagesize()
	damaged := 0
	for page := 2; page < len(whole)/size; page++ { // the flags of each page; many pages are free
		b := bytes.Clone(whole)
		binary.NativeEndian.PutUint16(b[page*size+8:], 0x77)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if check() != nil {
			damaged++
		}
		if page > 40 {
			break
		}
	}
	if damaged == 0 {
		t.Error("no damaged page was found")
	}
}

func TestBolt_ElementsOfAPrefix(t *testing.T) {
	f, err := boltpage.Open(writeFile(t), faults{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	err = f.Elements(context.Background(), []byte("deep"), []byte("key 0123"), func(e boltpage.Element) error {
		if !bytes.HasPrefix(e.Key, []byte("key 0123")) {
			t.Errorf("got the key %q", e.Key)
		}
		n++
		return nil
	}, func(err error) error { return err })
	if err != nil || n != 100 {
		t.Errorf("got %d elements, %v, want 100", n, err)
	}
}

func TestBolt_LaterVersionIsNoDamage(t *testing.T) {
	path := writeFile(t)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for page := range 2 {
		meta := b[page*os.Getpagesize()+16:]
		binary.NativeEndian.PutUint32(meta[4:], 3)
		sum := uint64(14695981039346656037) // FNV-1a
		for _, c := range meta[:56] {
			sum = (sum ^ uint64(c)) * 1099511628211
		}
		binary.NativeEndian.PutUint64(meta[56:], sum)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := boltpage.Open(path, faults{}); err == nil || err.Error() != "later: 3, known is 2" {
		t.Errorf("got %v", err)
	}
}

func TestBolt_TransactionsAreReached(t *testing.T) {
	path := writeFile(t)
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var last int
	if err := db.Update(func(tx *bolt.Tx) error { last = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for tx, want := range map[int]bool{last - 1: true, last: true, last + 1: false} {
		if got := boltpage.Reached(f, os.Getpagesize(), uint64(tx)); got != want {
			t.Errorf("transaction %d of %d: got %t, want %t", tx, last, got, want)
		}
	}
	if err := f.Truncate(0); err == nil && !boltpage.Reached(f, os.Getpagesize(), uint64(last)) {
		t.Error("a meta page that cannot be read means that the transaction was not stored")
	}
}
