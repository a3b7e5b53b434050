//go:build linux

package agent_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// floor is the reference for the log: bbolt alone with the log's options. One goroutine stores values of half a leaf, as in
// the floor of the log's own benchmarks.
type floor struct {
	dir       string
	db        *bolt.DB
	file      *os.File
	key       uint64
	allocated int64
	data      []byte          // that is stored, as often as need be
	took      []time.Duration // by each commit
}

const (
	floorSegment = 64 << 20
	floorStep    = 4 << 20
	floorBlock   = 8148
	// frameRest is the size of an event in the log without its data: lane, length, key, tags, time.
	frameRest = 32
)

var floorBucket = []byte("b")

func newFloor(b *testing.B) *floor {
	b.Helper()
	f := &floor{dir: b.TempDir(), data: make([]byte, 16<<20)}
	if err := f.open(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.db.Close() })
	return f
}

func (f *floor) open() (err error) {
	path := filepath.Join(f.dir, "floor.db")
	os.Remove(path)
	f.allocated = 0
	f.db, err = bolt.Open(path, 0o600, &bolt.Options{
		NoFreelistSync: true, FreelistType: bolt.FreelistMapType, NoStatistics: true,
		InitialMmapSize: 2 * floorSegment,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			file, err := os.OpenFile(name, flag, mode)
			f.file = file
			return file, err
		},
	})
	if err != nil {
		return err
	}
	return f.db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket(floorBucket); return err })
}

// store stores that many bytes in so many commits.
func (f *floor) store(b *testing.B, bytes, commits int) {
	b.Helper()
	for left := max(1, commits); left > 0; left-- {
		n := min(bytes/left, len(f.data))
		if err := f.commit(f.data[:n]); err != nil {
			b.Fatal(err)
		}
		bytes -= n
	}
}

// commit stores data cut into blocks. Making a new file is not in the time, allocating ahead is.
func (f *floor) commit(data []byte) error {
	used := int64(0)
	f.db.View(func(tx *bolt.Tx) error { used = tx.Size(); return nil })
	if used > floorSegment {
		f.db.Close()
		if err := f.open(); err != nil {
			return err
		}
		used = 0
	}
	start := time.Now()
	if want := used + 2*int64(len(data)) + floorStep/4; want > f.allocated {
		ahead := (want + floorStep - 1) / floorStep * floorStep
		if err := unix.Fallocate(int(f.file.Fd()), 0, f.allocated, ahead-f.allocated); err != nil {
			return err
		}
		f.allocated = ahead
	}
	err := f.db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(floorBucket)
		bucket.FillPercent = 1
		for block := range slices.Chunk(data, floorBlock) {
			f.key++
			if err := bucket.Put(binary.BigEndian.AppendUint64(nil, f.key), block); err != nil {
				return err
			}
		}
		return nil
	})
	f.took = append(f.took, time.Since(start))
	return err
}
