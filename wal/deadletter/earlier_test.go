package deadletter_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// earlierFile writes a file as a release before parts does: each letter is one value.
func earlierFile(t *testing.T, dir string, want []deadletter.Letter) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(dir, "dead.db"), 0o600, &bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType, NoSync: true})
	testkit.Must(t, err)
	for _, l := range want {
		testkit.Must(t, db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("dead"))
			testkit.Must(t, err)
			id, err := b.NextSequence()
			testkit.Must(t, err)
			return b.Put([]byte{6: byte(id >> 8), 7: byte(id)}, deadletter.EarlierValue(l, id))
		}))
	}
	testkit.Must(t, db.Close())
}

// The letters of a release before parts can be listed and dropped beside new ones. They are stored in parts when the file is
// copied, and keep their IDs. After the first one with parts, every letter has the version of those with parts.
func TestQueue_ReadsTheFileOfAnEarlierRelease(t *testing.T) {
	rng := rand.New(rand.NewPCG(draw.Seed(t), 0))
	for range 12 {
		n, largest := 20+rng.IntN(80), drawSize(rng, 1<<20)
		largest = max(largest, 100)
		t.Run(fmt.Sprintf("%d letters of up to %d", n, largest), func(t *testing.T) {
			dir := testkit.MemoryDir(t)
			want := make(map[uint64]deadletter.Letter)
			var letters []deadletter.Letter
			for i := range n {
				letters = append(letters, filled(i, 1+rng.IntN(largest)))
				want[uint64(i+1)] = letters[i]
			}
			earlierFile(t, dir, letters)
			d := openDead(t, dir)
			wantLetters(t, d, letters)
			for i := range 5 {
				l := filled(i, 1+rng.IntN(largest))
				testkit.Must(t, d.Put(l))
				want[uint64(n+i+1)] = l
			}
			length := deadLength(t, dir)
			for _, i := range rng.Perm(n + 5)[:n*4/5] {
				dropped, err := d.Drop(uint64(i + 1))
				if testkit.Must(t, err); len(dropped) != 1 {
					t.Fatalf("got %v dropped, want letter %d", dropped, i+1)
				}
				delete(want, uint64(i+1))
			}
			wantThese(t, d, want)
			if length > 2<<20 && deadLength(t, dir) > length/2 {
				t.Errorf("got %d bytes, %d before most letters were dropped", deadLength(t, dir), length)
			}
			if length > 2<<20 {
				wantSinglePages(t, dir)
			}
			testkit.Must(t, d.Close())
			wantPartsAnnounced(t, dir)
			wantThese(t, openDead(t, dir), want)
		})
	}
}

func wantThese(t *testing.T, d *deadletter.Queue, want map[uint64]deadletter.Letter) {
	t.Helper()
	ids := list(t, d, deadletter.Query{})
	if len(ids) != len(want) {
		t.Errorf("got %d letters, want %d", len(ids), len(want))
	}
	for _, id := range ids {
		if got, err := d.Get(id); err != nil || !reflect.DeepEqual(got, want[id]) {
			t.Errorf("letter %d of %d bytes: got another, %v", id, len(want[id].Event.Data), err)
		}
	}
}

// wantPartsAnnounced checks that the letters from the first one with parts on have version 3.
func wantPartsAnnounced(t *testing.T, dir string) {
	t.Helper()
	rewriteFile(t, dir, func(tx *bolt.Tx) error {
		parts := tx.Bucket([]byte("parts"))
		if parts == nil {
			return nil
		}
		first, _ := parts.Cursor().First()
		c := tx.Bucket([]byte("dead")).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if first != nil && string(k) >= string(first[:8]) && v[0] != 3 {
				t.Errorf("letter %x has version %d, and %x has parts", k, v[0], first[:8])
			}
		}
		return nil
	})
}
