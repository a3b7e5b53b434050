package deadletter_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// openAside opens the dead letters of a folder. It also returns the list of the files that they set aside from then on.
func openAside(t *testing.T, dir string) (*deadletter.Queue, *[]string) {
	t.Helper()
	aside := new([]string)
	d := deadletter.Open(dir, deadletter.Options{OnAside: func(path string, reason error) {
		var corrupt *wal.CorruptError
		if !errors.As(reason, &corrupt) {
			t.Errorf("got reason %v, want a CorruptError", reason)
		}
		*aside = append(*aside, path)
	}})
	t.Cleanup(func() { testkit.Must(t, d.Close()) })
	return d, aside
}

func putLetters(t *testing.T, d *deadletter.Queue, n int) {
	t.Helper()
	for range n {
		testkit.Must(t, d.Put(deadletter.Letter{Stream: "s", Destination: "d", Event: wal.Event{Key: "k", Data: make([]byte, 1000), Time: 1, Offset: 1}, Reason: "refused", At: time.Now()}))
	}
}

func deadIDs(t *testing.T, d *deadletter.Queue) (ids []uint64) {
	t.Helper()
	letters, err := d.List(t.Context(), deadletter.Query{})
	testkit.Must(t, err)
	for _, l := range letters {
		ids = append(ids, l.ID)
	}
	return ids
}

// A destination that rejects an event must not stop for ever because the file of the dead letters is damaged.
func TestDeadLetters_GoOnInANewFileWhenTheirsIsDamaged(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path string){
		"empty":      func(t *testing.T, path string) { testkit.Must(t, os.Truncate(path, 0)) },
		"half":       func(t *testing.T, path string) { testkit.Must(t, os.Truncate(path, 8192)) },
		"both metas": func(t *testing.T, path string) { testkit.Overwrite(t, path, 0, make([]byte, 8192)) },
		"pages":      func(t *testing.T, path string) { testkit.Overwrite(t, path, 8192, make([]byte, 20*4096)) },
		"random": func(t *testing.T, path string) {
			for page := int64(2); page < testkit.FileLength(t, path)/4096; page++ { // every page header
				testkit.Overwrite(t, path, page*4096, []byte{byte(rand.Uint32()) | 1, 0xff, byte(rand.Uint32())})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "dead.db")
			var used []uint64
			for round := range 3 {
				d, aside := openAside(t, dir)
				putLetters(t, d, 20)
				ids := deadIDs(t, d)
				if len(ids) != 20 {
					t.Fatalf("round %d: got letters %v, want the 20 since the damage", round, ids)
				}
				if len(used) > 0 && slices.Min(ids) <= slices.Max(used) {
					t.Errorf("round %d: got ids %v, want them above %d", round, ids, slices.Max(used))
				}
				if round > 0 && (len(*aside) != 1 || testkit.FileLength(t, (*aside)[0]) == 0 && name != "empty") {
					t.Errorf("round %d: got %v set aside, want the damaged file", round, *aside)
				}
				used = append(used, ids...)
				testkit.Must(t, d.Close())
				damage(t, path)
			}
			if kept, _ := filepath.Glob(path + ".corrupt*"); len(kept) != 2 {
				t.Errorf("got %v, want both damaged files kept", kept)
			}
		})
	}
}

// The file is damaged while it is open.
func TestDeadLetters_GoOnWhenTheirFileIsDamagedUnderThem(t *testing.T) {
	dir := t.TempDir()
	d, aside := openAside(t, dir)
	putLetters(t, d, 50)
	path := filepath.Join(dir, "dead.db")
	for page := int64(2); page < testkit.FileLength(t, path)/4096; page++ {
		testkit.Overwrite(t, path, page*4096, slices.Repeat([]byte{0xff}, 64))
	}
	putLetters(t, d, 3)
	if ids := deadIDs(t, d); len(*aside) != 1 || len(ids) != 3 || ids[0] <= 50 {
		t.Errorf("got %v set aside and letters %v, want 3 with new ids", *aside, ids)
	}
}

// A file that outgrows its map is mapped again between two letters.
func TestDeadLetters_OutgrowTheirMap(t *testing.T) {
	dir := t.TempDir()
	d, aside := openAside(t, dir)
	for n := range uint64(24) {
		testkit.Must(t, d.Put(deadletter.Letter{Stream: "s", Destination: "d", Event: wal.Event{Data: make([]byte, n*64<<10), Offset: n + 1}, At: time.Now()}))
	}
	for range 2 {
		for id := range uint64(24) {
			if got, err := d.Get(id + 1); err != nil || got.Event.Offset != id+1 || len(got.Event.Data) != int(id*64<<10) {
				t.Errorf("letter %d: got offset %d, %d bytes, %v", id+1, got.Event.Offset, len(got.Event.Data), err)
			}
		}
		testkit.Must(t, d.Close())
		d, aside = openAside(t, dir)
	}
	if len(*aside) > 0 {
		t.Errorf("got %v set aside", *aside)
	}
}
