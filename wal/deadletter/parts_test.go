package deadletter_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// filled is letter(n) with size bytes of data, which differ from one part of the letter to the next.
func filled(n, size int) deadletter.Letter {
	l := letter(n)
	l.Event.Data = make([]byte, size)
	for i := range l.Event.Data {
		l.Event.Data[i] = byte(n + i + i>>8 + i>>16)
	}
	return l
}

// wantLetters checks that the letters have the IDs from 1 on, and everything in them.
func wantLetters(t *testing.T, d *deadletter.Queue, want []deadletter.Letter) {
	t.Helper()
	letters, err := d.List(t.Context(), deadletter.Query{})
	if testkit.Must(t, err); len(letters) != len(want) {
		t.Fatalf("got %d letters, want %d", len(letters), len(want))
	}
	for i, w := range want {
		if s := letters[i]; s.Damage != nil || s.Bytes != len(w.Event.Data) || s.Reason != w.Reason || s.Key != w.Event.Key {
			t.Errorf("letter %d of %d bytes: got %+v", i+1, len(w.Event.Data), s)
		}
		if got, err := d.Get(uint64(i + 1)); err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("letter %d of %d bytes: got another, %v", i+1, len(w.Event.Data), err)
		}
	}
}

// Letters just below, at and above the lengths where they get another part.
func TestQueue_ReturnsLettersOfEverySize(t *testing.T) {
	dir := testkit.MemoryDir(t)
	d := openDead(t, dir)
	var want []deadletter.Letter
	for _, bounds := range [][2]int{{870, 1010}, {1860, 2000}, {6 * 992, 6*992 + 3}, {1<<20 - 1, 1<<20 + 1}, {1, 3}, {930, 945}} {
		for size := bounds[0]; size < bounds[1]; size++ {
			want = append(want, filled(len(want), size))
			testkit.Must(t, d.Put(want[len(want)-1]))
		}
	}
	wantLetters(t, d, want)
	testkit.Must(t, d.Close())
	wantLetters(t, openDead(t, dir), want)
	wantSinglePages(t, dir)
}

// A damaged, missing or foreign part is the damage of its letter alone. A Drop removes all parts of the letter.
func TestList_ShowsLettersWithDamagedParts(t *testing.T) {
	key := func(id uint64, part uint32) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, id), part)
	}
	for name, damage := range map[string]func(parts, dead *bolt.Bucket) error{
		"none": nil,
		"flipped bit": func(parts, _ *bolt.Bucket) error {
			v := bytes.Clone(parts.Get(key(2, 3)))
			v[100] ^= 1
			return parts.Put(key(2, 3), v)
		},
		"short part":      func(parts, _ *bolt.Bucket) error { return parts.Put(key(2, 1), parts.Get(key(2, 1))[:991]) },
		"short last part": func(parts, _ *bolt.Bucket) error { return parts.Put(key(2, 5), parts.Get(key(2, 5))[:1]) },
		"first missing":   func(parts, _ *bolt.Bucket) error { return parts.Delete(key(2, 0)) },
		"middle missing":  func(parts, _ *bolt.Bucket) error { return parts.Delete(key(2, 2)) },
		"last missing":    func(parts, _ *bolt.Bucket) error { return parts.Delete(key(2, 5)) },
		"all missing": func(parts, _ *bolt.Bucket) error {
			for n := range uint32(6) {
				testkit.Must(t, parts.Delete(key(2, n)))
			}
			return nil
		},
		"swapped": func(parts, _ *bolt.Bucket) error {
			a, b := bytes.Clone(parts.Get(key(2, 1))), bytes.Clone(parts.Get(key(2, 2)))
			return errors.Join(parts.Put(key(2, 1), b), parts.Put(key(2, 2), a))
		},
		"of another letter": func(parts, _ *bolt.Bucket) error {
			return parts.Put(key(2, 1), bytes.Clone(parts.Get(key(3, 1))))
		},
		"one more":  func(parts, _ *bolt.Bucket) error { return parts.Put(key(2, 6), []byte("more")) },
		"other key": func(parts, _ *bolt.Bucket) error { return parts.Put(append(key(2, 5), 0), []byte("more")) },
		"head of another letter": func(_, dead *bolt.Bucket) error {
			return dead.Put(key(2, 0)[:8], bytes.Clone(dead.Get(key(3, 0)[:8])))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := testkit.MemoryDir(t)
			d := openDead(t, dir)
			for n, size := range []int{10, 5000, 5000} {
				testkit.Must(t, d.Put(filled(n, size)))
			}
			testkit.Must(t, d.Close())
			if damage != nil {
				rewriteFile(t, dir, func(tx *bolt.Tx) error { return damage(tx.Bucket([]byte("parts")), tx.Bucket([]byte("dead"))) })
			}
			d = openDead(t, dir)
			letters, err := d.List(t.Context(), deadletter.Query{})
			if testkit.Must(t, err); len(letters) != 3 {
				t.Fatalf("got %+v, want three letters", letters)
			}
			for _, l := range letters {
				var corrupt *wal.CorruptError
				_, err := d.Get(l.ID)
				if damaged := damage != nil && l.ID == 2; errors.As(l.Damage, &corrupt) != damaged || errors.As(err, &corrupt) != damaged {
					t.Errorf("letter %d: got damage %v, %v, want some: %t", l.ID, l.Damage, err, damaged)
				}
			}
			dropped, err := d.Drop(2)
			if testkit.Must(t, err); !slices.Equal(dropped, []uint64{2}) {
				t.Errorf("got %v dropped, want 2", dropped)
			}
			testkit.Must(t, d.Close())
			rewriteFile(t, dir, func(tx *bolt.Tx) error {
				if k, _ := tx.Bucket([]byte("parts")).Cursor().Seek(key(2, 0)); !bytes.Equal(k, key(3, 0)) {
					t.Errorf("got the part %x after the dropped letter, want the first one of letter 3", k)
				}
				return nil
			})
		})
	}
}

func rewriteFile(t *testing.T, dir string, f func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(dir, "dead.db"), 0o600, nil)
	testkit.Must(t, err)
	testkit.Must(t, errors.Join(db.Update(f), db.Close()))
}

// A release before parts decodes the letter that was stored last. It knows version 2 and has the checksum at the same place.
// If it used a file with parts, it would lose them when it copies the file.
func TestQueue_ShowsPartsToAnEarlierRelease(t *testing.T) {
	dir := testkit.MemoryDir(t)
	d := openDead(t, dir)
	lastVersion := func(want byte) {
		t.Helper()
		testkit.Must(t, d.Close())
		rewriteFile(t, dir, func(tx *bolt.Tx) error {
			k, v := tx.Bucket([]byte("dead")).Cursor().Last()
			sum := crc32.Checksum(slices.Concat(k, v[5:]), crc32.MakeTable(crc32.Castagnoli))
			if len(k) != 8 || v[0] != want || binary.BigEndian.Uint32(v[1:]) != sum {
				t.Errorf("got key %x and version %d, sum %x, want an ID, version %d and sum %x", k, v[0], v[1:5], want, sum)
			}
			return nil
		})
		d = openDead(t, dir)
	}
	put := func(size int) { t.Helper(); testkit.Must(t, d.Put(filled(1, size))) }
	drop := func(id uint64) { t.Helper(); _, err := d.Drop(id); testkit.Must(t, err) }
	put(10)
	lastVersion(2)
	put(5000)
	lastVersion(3)
	put(10)
	put(10)
	lastVersion(3)
	drop(4)
	drop(3)
	lastVersion(3)
	drop(2)
	lastVersion(2)
	put(10)
	lastVersion(2)
}
