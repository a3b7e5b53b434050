package deadletter_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// Letters of all sizes can be dropped from a full file, in any order and in groups of any size, also while they are listed.
// The free pages of the file may then be in short runs, and no further bytes may be free.
func TestDrop_NeedsNoRoomThatAFullFileLacks(t *testing.T) {
	rng := rand.New(rand.NewPCG(draw.Seed(t), 0))
	for range 16 {
		b := &fixedBudget{max: int64(1+rng.IntN(8)) << 20}
		b.free = b.max / int64(1+rng.IntN(3))
		smallest := drawSize(rng, 9000)
		largest := smallest + max(drawSize(rng, min(1<<20, int(b.free/4))), int(b.free/2000)) // a few thousand letters at most
		listed := rng.IntN(4) == 0
		t.Run(fmt.Sprintf("max %d, free %d, letters %d to %d, listed %t", b.max, b.free, smallest, largest, listed), func(t *testing.T) {
			dir := testkit.MemoryDir(t)
			d := deadletter.Open(dir, deadletter.Options{Budget: b})
			t.Cleanup(func() { testkit.Must(t, d.Close()) })
			if listed {
				listUntilTheEnd(t, d)
			}
			for range 4 {
				for {
					err := d.Put(sized(smallest + rng.IntN(largest-smallest)))
					if errors.Is(err, deadletter.ErrFull) {
						break
					}
					testkit.Must(t, err)
				}
				dropSome(t, d, b, rng)
				wantSinglePages(t, dir)
			}
		})
	}
}

// drawSize draws a number from 1 to most. Every order of magnitude is as likely as another.
func drawSize(rng *rand.Rand, most int) int {
	return max(1, min(most, int(math.Exp(rng.Float64()*math.Log(float64(most+1))))))
}

// listUntilTheEnd lists the letters again and again until the test ends.
func listUntilTheEnd(t *testing.T, d *deadletter.Queue) {
	t.Helper()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := d.List(t.Context(), deadletter.Query{Limit: 20}); err != nil && t.Context().Err() == nil {
				t.Error(err)
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
}

// dropSome drops part of the letters, in an order and in parts that are drawn.
func dropSome(t *testing.T, d *deadletter.Queue, b *fixedBudget, rng *rand.Rand) {
	t.Helper()
	ids := list(t, d, deadletter.Query{})
	if len(ids) == 0 {
		t.Fatal("got no letter, want some before the file is full")
	}
	if rng.IntN(2) == 0 {
		rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	}
	ids = ids[:1+rng.IntN(len(ids))]
	for part := range slices.Chunk(ids, 1+rng.IntN(len(ids))) {
		got, err := d.Drop(part...)
		if testkit.Must(t, err); len(got) != len(part) {
			t.Fatalf("got %d letters dropped, want %d", len(got), len(part))
		}
		if b.held > b.free {
			t.Fatalf("got %d bytes held, free are %d", b.held, b.free)
		}
	}
}

// wantSinglePages checks that no page of the file, nor one that was ever used, is continued by others.
func wantSinglePages(t *testing.T, dir string) {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(dir, "dead.db"))
	testkit.Must(t, err)
	size := os.Getpagesize()
	for page := 2; page < len(file)/size; page++ {
		if more := binary.NativeEndian.Uint32(file[page*size+12:]); more > 0 {
			t.Fatalf("page %d is continued by %d others", page, more)
		}
	}
}
