package recent_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/recent"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// row is a bbolt file with blocks, and the blocks that it should hold.
type row struct {
	db     *bolt.DB
	path   string
	blocks [][]byte // block n is at n-1
	kept   recent.Blocks
}

func newRow(t *testing.T) *row {
	t.Helper()
	w := &row{path: filepath.Join(t.TempDir(), "segment")}
	var err error
	w.db, err = bolt.Open(w.path, 0o600, &bolt.Options{NoFreelistSync: true, NoSync: true})
	must(t, err)
	t.Cleanup(func() { _ = w.db.Close() })
	must(t, w.db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{segment.BucketMeta, segment.BucketState, segment.BucketBlocks} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(segment.BucketMeta).Put([]byte("log"), make([]byte, 200))
	}))
	return w
}

// add stores the values in one transaction, as a segment does, and reports whether they are recent. It returns the pages
// that the transaction wrote, without the meta page.
func (w *row) add(t *testing.T, values ...[]byte) (kept bool, pages int64) {
	t.Helper()
	tx, err := w.db.Begin(true)
	must(t, err)
	kept = w.kept.Fit(tx, values)
	last := uint64(len(w.blocks))
	bucket := tx.Bucket(segment.BucketBlocks)
	if !kept {
		must(t, w.kept.Move(tx, bucket, last))
		w.kept = recent.Blocks{}
	}
	for _, value := range values {
		last++
		w.blocks = append(w.blocks, value)
		if kept {
			must(t, recent.Put(tx, last, value))
			w.kept = w.kept.With(len(value))
		} else {
			must(t, bucket.Put(segment.NumberKey(last), value))
		}
	}
	must(t, tx.Commit())
	return kept, tx.Stats().PageAlloc / int64(w.db.Info().PageSize)
}

// check compares both kinds of readers with the row.
func (w *row) check(t *testing.T, r *rand.Rand) {
	t.Helper()
	must(t, w.db.View(func(tx *bolt.Tx) error {
		return w.checkCursor(segment.BoltReader{Tx: tx}.Bucket(segment.BucketBlocks), r)
	}))
	f, err := boltpage.Open(w.path, segment.FileFaults{})
	must(t, err)
	defer f.Close()
	must(t, segment.ViewPages(f, func(reader segment.Reader) error {
		return w.checkCursor(reader.Bucket(segment.BucketBlocks), r)
	}))
	s, err := f.Snapshot()
	must(t, err)
	must(t, s.Check(func([]byte, uint64) func(boltpage.Element) error { return func(boltpage.Element) error { return nil } }))
	number := uint64(0)
	for key := []byte{}; key != nil; {
		leaf, after, err := recent.LeafOf(s, segment.BucketBlocks, key)
		must(t, err)
		must(t, boltpage.VisitFrom(leaf, key, nil, func(e boltpage.Element) error {
			number++
			return w.is(number, e.Key, e.Value)
		}))
		key = after
	}
	if number != uint64(len(w.blocks)) {
		t.Fatalf("got %d blocks leaf by leaf, want %d", number, len(w.blocks))
	}
	if end, err := segment.EndOfBlocks(s); err != nil || end != number+1 {
		t.Fatalf("got the end %d, %v, want %d", end, err, number+1)
	}
}

// is returns an error unless key and value are those of the block; number 0, or beyond the last: there is none.
func (w *row) is(number uint64, key, value []byte) error {
	if number == 0 || number > uint64(len(w.blocks)) {
		if key != nil {
			return fmt.Errorf("got block %x, want none", key)
		}
		return nil
	}
	if !bytes.Equal(key, segment.NumberKey(number)) || !bytes.Equal(value, w.blocks[number-1]) {
		return fmt.Errorf("got block %x of %d bytes, want number %d of %d", key, len(value), number, len(w.blocks[number-1]))
	}
	return nil
}

// checkCursor visits all blocks in order, and then drawn ones.
func (w *row) checkCursor(c segment.Entries, r *rand.Rand) error {
	k, v := c.Seek(segment.NumberKey(0))
	for number := range uint64(len(w.blocks)) + 1 {
		if err := w.is(number+1, k, v); err != nil {
			return fmt.Errorf("next: %w", err)
		}
		k, v = c.Next()
	}
	for range 20 {
		number := r.Uint64N(uint64(len(w.blocks)) + 3)
		k, v := c.Floor(segment.NumberKey(number))
		if err := w.is(min(number, uint64(len(w.blocks))), k, v); err != nil {
			return fmt.Errorf("floor of %d: %w", number, err)
		}
		number = max(number, 1)
		k, v = c.Seek(segment.NumberKey(number))
		if err := w.is(number, k, v); err != nil {
			return fmt.Errorf("seek %d: %w", number, err)
		}
		if k == nil {
			continue
		}
		if k, v = c.Next(); w.is(number+1, k, v) != nil {
			return fmt.Errorf("next after %d: %w", number, w.is(number+1, k, v))
		}
	}
	return nil
}

// Readers find all blocks in order, in drawn histories of small and large ones.
func TestBlocks_AreOneRow(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 5 {
		w := newRow(t)
		w.check(t, r)
		for range 60 {
			values := make([][]byte, 1+r.IntN(2))
			for i := range values {
				values[i] = make([]byte, 8+r.IntN(1+r.IntN(1600)))
				binary.BigEndian.PutUint64(values[i], r.Uint64())
			}
			w.add(t, values...)
			w.check(t, r)
		}
	}
}

// A commit of a recent block writes the page of the buckets and nothing else. At least two thirds of the blocks of 300 bytes are
// recent, also if the state lies in that page.
func TestBlocks_TakeOnePage(t *testing.T) {
	for _, state := range []int{0, 700, 5000} {
		w := newRow(t)
		must(t, w.db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket(segment.BucketState).Put([]byte("cursor"), make([]byte, state))
		}))
		const blocks = 300
		recents := 0
		for range blocks {
			kept, pages := w.add(t, make([]byte, 300))
			if !kept {
				continue
			}
			recents++
			if pages != 1 {
				t.Fatalf("a recent block wrote %d pages, want 1", pages)
			}
		}
		if recents < blocks*2/3 {
			t.Errorf("with a state of %d bytes: got %d recent blocks of %d", state, recents, blocks)
		}
	}
}

// The largest recent block takes a quarter of a page with its key. A larger one would get a page of its own.
func TestBlocks_LargeOnesDoNotFit(t *testing.T) {
	w := newRow(t)
	largest := w.db.Info().PageSize/4 - 16 - 16 - 8
	if kept, pages := w.add(t, make([]byte, largest)); !kept || pages != 1 {
		t.Errorf("%d bytes: got %v and %d pages, want a recent block and 1", largest, kept, pages)
	}
	if kept, _ := w.add(t, make([]byte, largest+1)); kept {
		t.Errorf("%d bytes are recent", largest+1)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
