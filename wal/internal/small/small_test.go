package small_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/segment"
	"github.com/standpipe/standpipe/wal/internal/small"
)

// pages is a bbolt file with pages for small commits.
type pages struct {
	t     *testing.T
	file  *os.File
	space small.Space
	tx    uint64
	count int
}

func newPages(t *testing.T, count int) *pages {
	t.Helper()
	path := filepath.Join(t.TempDir(), "segment")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true, NoSync: true})
	must(t, err)
	p := &pages{t: t, count: count}
	must(t, db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{segment.BucketBlocks, segment.BucketState} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		p.tx = uint64(tx.ID())
		return small.Create(tx, count)
	}))
	must(t, db.View(func(tx *bolt.Tx) error {
		p.space = small.InTx(tx)
		return nil
	}))
	must(t, db.Close())
	p.file, err = os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	t.Cleanup(func() { _ = p.file.Close() })
	return p
}

// read returns the commits of a snapshot.
func (p *pages) read() (found small.Found, err error) {
	err = boltpage.View(p.file.Name(), segment.FileFaults{}, func(s *boltpage.Snapshot) (err error) {
		found, err = small.Read(s)
		return err
	})
	return found, err
}

func (p *pages) write(b []byte, at int64) {
	p.t.Helper()
	_, err := p.file.WriteAt(b, at)
	must(p.t, err)
}

// drawn returns commits with blocks of consecutive numbers and with entries of the state.
func drawn(r *rand.Rand, n int) (list []small.Commit) {
	block := uint64(1 + r.IntN(1000))
	for range n {
		var c small.Commit
		for range r.IntN(4) {
			c.Blocks = append(c.Blocks, boltpage.Element{Key: segment.NumberKey(block), Value: random(r, r.IntN(400))})
			block++
		}
		for range r.IntN(4) {
			c.State = append(c.State, boltpage.Element{Key: fmt.Appendf(nil, "d%d", r.IntN(5)), Value: random(r, r.IntN(300))})
		}
		list = append(list, c)
	}
	return list
}

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// store writes the commits, each with the confirmation of the one before it, as a segment does.
func (p *pages) store(list []small.Commit) {
	p.t.Helper()
	for i := range list {
		page := p.space.Encode(p.tx, i+1, &list[i])
		if page == nil {
			p.t.Fatalf("commit %d does not fit", i+1)
		}
		p.write(page, p.space.Offset(i+1))
		p.write(p.space.Confirmation(p.tx, i+1), p.space.Offset(i+2))
	}
}

// checkIs checks that the pages hold exactly these commits.
func (p *pages) checkIs(list []small.Commit) {
	p.t.Helper()
	found, err := p.read()
	must(p.t, err)
	var want small.Commit
	for _, c := range list {
		want.Blocks, want.State = append(want.Blocks, c.Blocks...), append(want.State, c.State...)
	}
	if len(found.Pages) != len(list) || !equal(found.Blocks, want.Blocks) || !equal(found.State, want.State) {
		p.t.Fatalf("got %d commits with %d blocks and %d entries, want %d, %d, %d", len(found.Pages), len(found.Blocks), len(found.State),
			len(list), len(want.Blocks), len(want.State))
	}
}

func equal(a, b []boltpage.Element) bool {
	for i := range min(len(a), len(b)) {
		if !bytes.Equal(a[i].Key, b[i].Key) || !bytes.Equal(a[i].Value, b[i].Value) {
			return false
		}
	}
	return len(a) == len(b)
}

// Any number of commits is read again, beside stale ones of earlier transactions.
func TestRead_ReturnsTheCommitsOfItsTransaction(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 30 {
		p := newPages(t, 4+r.IntN(61))
		p.tx-- // of the transaction before
		p.store(drawn(r, r.IntN(p.count+1)))
		p.tx++
		p.checkIs(nil)
		list := drawn(r, r.IntN(p.count+1))
		p.store(list)
		p.checkIs(list)
	}
}

// The last commit, whose write was interrupted, is there whole or not at all, and none before it is lost. The sectors of its page
// that were not written are empty, or have content of another place.
func TestRead_TornCommitIsNone(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	torn := 0
	for range 100 {
		p := newPages(t, 4+r.IntN(61))
		p.tx--
		p.store(drawn(r, r.IntN(p.count+1)))
		p.tx++
		list := drawn(r, 1+r.IntN(p.count))
		last := len(list)
		p.store(list[:last-1])
		page := p.space.Encode(p.tx, last, &list[last-1])
		before := make([]byte, len(page))
		_, err := p.file.ReadAt(before, p.space.Offset(last))
		must(t, err)
		whole := true
		for at := 0; at < len(page); at += 512 {
			sector := page[at : at+512]
			switch r.IntN(8) {
			case 0, 1:
				sector = before[at : at+512]
			case 2:
				sector = make([]byte, 512)
			case 3:
				sector = make([]byte, 512)
				_, err := p.file.ReadAt(sector, p.space.Offset(1+r.IntN(p.count))+int64(r.IntN(len(page)/512)*512))
				must(t, err)
			}
			p.write(sector, p.space.Offset(last)+int64(at))
			whole = whole && bytes.Equal(sector, page[at:at+512])
		}
		if found, err := p.read(); err != nil || len(found.Pages) == last {
			must(t, err)
			p.checkIs(list)
			continue
		}
		torn++
		if p.checkIs(list[:last-1]); whole {
			t.Fatal("a whole commit is missing")
		}
	}
	if torn < 10 {
		t.Errorf("%d commits were torn, want at least 10", torn)
	}
}

// A lost page that shows another commit of the same transaction is none.
func TestRead_CommitOfAnotherPlaceIsNone(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	p := newPages(t, 8)
	list := drawn(r, 5)
	p.store(list)
	for number := range list {
		p.write(p.space.Encode(p.tx, number+1, &list[number]), p.space.Offset(len(list)+1))
		p.checkIs(list)
	}
}

// A fault of the disk in a commit that was confirmed, or that later ones follow, is damage: the commit is not taken for a torn one,
// and those after it are not lost.
func TestRead_DamagedCommitIsNotTorn(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	decoded, rejected := 0, 0
	for round := range 100 {
		p := newPages(t, 4+r.IntN(61))
		list := drawn(r, 1+r.IntN(p.count))
		p.store(list)
		number := 1 + r.IntN(len(list))
		page := p.space.Encode(p.tx, number, &list[number-1])
		at := r.IntN(1 + len(bytes.TrimRight(page, "\x00")))
		if round%2 == 0 {
			at = r.IntN(25) // in the header
		}
		p.write([]byte{page[at] ^ byte(1<<r.IntN(8))}, p.space.Offset(number)+int64(at))
		found, err := p.read()
		switch {
		case segment.Damaged(err):
			rejected++
		case err != nil || len(found.Pages) != len(list):
			t.Fatalf("got %d commits and %v, want %d or damage", len(found.Pages), err, len(list))
		default:
			decoded++
		}
	}
	if decoded == 0 || rejected == 0 {
		t.Errorf("%d damaged pages were decoded and %d rejected, want some of both", decoded, rejected)
	}
}

// The overlay shows the blocks and the state as if they were in their buckets.
func TestOverlay_AddsToTheBuckets(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	p := newPages(t, 64)
	list := drawn(r, 40)
	p.store(list)
	f, err := segment.OpenPages(p.file.Name())
	must(t, err)
	defer f.Close()
	want := map[string][]byte{}
	blocks := 0
	for _, c := range list {
		blocks += len(c.Blocks)
		for _, e := range c.State {
			want[string(e.Key)] = e.Value
		}
	}
	none := func(err error) error { return err }
	must(t, f.Elements(t.Context(), segment.BucketBlocks, nil, func(boltpage.Element) error {
		blocks--
		return nil
	}, none))
	must(t, f.Elements(t.Context(), segment.BucketState, nil, func(e boltpage.Element) error {
		if !bytes.Equal(e.Value, want[string(e.Key)]) {
			t.Errorf("entry %s: got %d bytes, want %d others", e.Key, len(e.Value), len(want[string(e.Key)]))
		}
		delete(want, string(e.Key))
		return nil
	}, none))
	if blocks != 0 || len(want) != 0 {
		t.Errorf("%d blocks and %d entries are missing", blocks, len(want))
	}
}

// A reader that began before a transaction stored the blocks has them in the bucket already.
func TestAfter_LeavesOutStoredBlocks(t *testing.T) {
	blocks := []boltpage.Element{{Key: segment.NumberKey(7)}, {Key: segment.NumberKey(8)}, {Key: segment.NumberKey(9)}}
	for last, want := range map[uint64]int{0: 3, 6: 3, 7: 2, 8: 1, 9: 0, 10: 0} {
		if got := len(small.After(blocks, last)); got != want {
			t.Errorf("after block %d: got %d blocks, want %d", last, got, want)
		}
	}
}

// A commit that takes a byte more than a page is none.
func TestEncode_NeedsAPage(t *testing.T) {
	p := newPages(t, 4)
	c := small.Commit{Blocks: []boltpage.Element{{Key: segment.NumberKey(1)}}}
	most := 0
	for p.space.Encode(p.tx, 1, &c) != nil {
		most++
		c.Blocks[0].Value = make([]byte, most)
	}
	if most < os.Getpagesize()-64 || most > os.Getpagesize() {
		t.Errorf("the largest block has %d bytes", most-1)
	}
	c.Blocks[0].Value = make([]byte, most-1)
	p.store([]small.Commit{c})
	p.checkIs([]small.Commit{c})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
