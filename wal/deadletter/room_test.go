package deadletter_test

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// fixedBudget is a budget with a fixed number of free bytes.
type fixedBudget struct{ max, free, held int64 }

func (b *fixedBudget) Max() int64 { return b.max }

func (b *fixedBudget) Hold(bytes int64) bool {
	if bytes > b.free {
		return false
	}
	b.held = bytes
	return true
}

// The file stays within its budget, also while it is copied. A letter that does not fit is rejected with the numbers, and
// there is room again once letters were dropped.
func TestBudget_BoundsTheFile(t *testing.T) {
	for name, b := range map[string]*fixedBudget{
		"all free":  {max: 4 << 20, free: 4 << 20},
		"half free": {max: 4 << 20, free: 2 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := deadletter.Open(dir, deadletter.Options{Budget: b})
			t.Cleanup(func() { testkit.Must(t, d.Close()) })
			for round := range 5 {
				putUntilFull(t, d, b)
				if length := testkit.FileLength(t, filepath.Join(dir, "dead.db")); length > b.held || b.held > b.free {
					t.Fatalf("round %d: got a file of %d bytes and %d held, free are %d", round, length, b.held, b.free)
				}
				ids := list(t, d, deadletter.Query{})
				if len(ids) < 20 {
					t.Fatalf("round %d: got %d letters, want more", round, len(ids))
				}
				for part := range slices.Chunk(ids[round:], 10) {
					got, err := d.Drop(part...)
					if testkit.Must(t, err); !slices.Equal(got, part) {
						t.Fatalf("round %d: got %v dropped, want %v", round, got, part)
					}
				}
			}
		})
	}
}

// putUntilFull stores letters until one does not fit.
func putUntilFull(t *testing.T, d *deadletter.Queue, b *fixedBudget) {
	t.Helper()
	for range 10_000 {
		err := d.Put(sized(20_000))
		var full *deadletter.FullError
		if errors.As(err, &full) {
			if full.Max != b.max || full.Letter < 20_000 || full.Used > b.max || !errors.Is(err, deadletter.ErrFull) {
				t.Errorf("got %v", err)
			}
			return
		}
		testkit.Must(t, err)
	}
	t.Fatal("the dead letters do not fill")
}

// The call that opens the file holds its length, and room for a Drop beside it. If there is no such room, it holds the
// length alone.
func TestBudget_HoldsTheFileThatIsOpened(t *testing.T) {
	dir := t.TempDir()
	d, _ := openAside(t, dir)
	putLetters(t, d, 50)
	testkit.Must(t, d.Close())
	length := testkit.FileLength(t, filepath.Join(dir, "dead.db"))
	for name, free := range map[string]int64{"room for a drop": 4 << 20, "none": length} {
		b := &fixedBudget{max: 4 << 20, free: free}
		d := deadletter.Open(dir, deadletter.Options{Budget: b})
		_, err := d.LastID()
		testkit.Must(t, errors.Join(err, d.Close()))
		if b.held < length || (b.held > length) != (free > length) {
			t.Errorf("%s: got %d bytes held for a file of %d, free are %d", name, b.held, length, free)
		}
	}
}

// A new file that follows a damaged one gets no bytes that were held for that, unless they are free again.
func TestBudget_OfADamagedFileIsNotTheNextOnes(t *testing.T) {
	dir := t.TempDir()
	b := &fixedBudget{max: 4 << 20, free: 4 << 20}
	var aside string
	d := deadletter.Open(dir, deadletter.Options{Budget: b, OnAside: func(path string, _ error) { aside, b.free = path, 0 }})
	t.Cleanup(func() { testkit.Must(t, d.Close()) })
	putLetters(t, d, 500)
	path := filepath.Join(dir, "dead.db")
	for page := int64(2); page < testkit.FileLength(t, path)/4096; page++ {
		testkit.Overwrite(t, path, page*4096, slices.Repeat([]byte{0xff}, 64))
	}
	if err := d.Put(sized(1000)); !errors.Is(err, deadletter.ErrFull) || aside == "" {
		t.Errorf("got %v with %q set aside, want no room in the new file", err, aside)
	}
}

// A restart lengthens no file beyond its budget, however often the agent restarts with a full one.
func TestBudget_BoundsTheFileThroughRestarts(t *testing.T) {
	rng := rand.New(rand.NewPCG(draw.Seed(t), 0))
	for range 6 {
		dir, size := testkit.MemoryDir(t), 1+rng.IntN(60_000)
		b := &fixedBudget{max: int64(1+rng.IntN(4)) << 20, free: 16 << 20}
		for restart := range 8 {
			d := deadletter.Open(dir, deadletter.Options{Budget: b})
			for range 10_000 {
				err := d.Put(sized(1 + rng.IntN(size)))
				if errors.Is(err, deadletter.ErrFull) {
					break
				}
				testkit.Must(t, err)
			}
			ids := list(t, d, deadletter.Query{})
			_, err := d.Drop(ids[rng.IntN(len(ids))])
			testkit.Must(t, errors.Join(err, d.Close()))
			if length := testkit.FileLength(t, filepath.Join(dir, "dead.db")); length > b.max {
				t.Fatalf("letters up to %d bytes, restart %d: got a file of %d bytes, want at most %d", size, restart, length, b.max)
			}
		}
	}
}
