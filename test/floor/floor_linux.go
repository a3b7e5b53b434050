package floor

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

const (
	segment = 64 << 20
	step    = 4 << 20
)

var bucketName = []byte("blocks")

// Floor is a file of bbolt. It is not safe for concurrent use.
type Floor struct {
	Took []time.Duration // by each commit

	dir       string
	db        *bolt.DB
	file      *os.File
	block     int
	key       uint64
	allocated int64
	data      []byte // stored by Store and CommitBytes
}

// New creates a file that stores values of block bytes, and closes it when the benchmark ends.
func New(b *testing.B, block int) *Floor {
	b.Helper()
	f, err := Open(b.TempDir(), block)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	return f
}

// Open creates a file in dir that stores values of block bytes.
func Open(dir string, block int) (*Floor, error) {
	f := &Floor{dir: dir, block: block, data: make([]byte, 16<<20)}
	return f, f.open()
}

// Close closes the file.
func (f *Floor) Close() error { return f.db.Close() }

func (f *Floor) open() (err error) {
	path := filepath.Join(f.dir, "floor.db")
	_ = os.Remove(path)
	f.allocated = 0
	f.db, err = bolt.Open(path, 0o600, &bolt.Options{
		NoFreelistSync: true, FreelistType: bolt.FreelistMapType, NoStatistics: true,
		InitialMmapSize: 2 * segment,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			file, err := os.OpenFile(name, flag, mode)
			f.file = file
			return file, err
		},
	})
	if err != nil {
		return err
	}
	return f.db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket(bucketName); return err })
}

// Store stores that many bytes in so many commits.
func (f *Floor) Store(b *testing.B, bytes, commits int) {
	b.Helper()
	for left := max(1, commits); left > 0; left-- {
		n := min(bytes/left, len(f.data))
		if err := f.CommitBytes(n); err != nil {
			b.Fatal(err)
		}
		bytes -= n
	}
}

// CommitBytes stores n bytes, at most 16 MiB, with one transaction.
func (f *Floor) CommitBytes(n int) error { return f.Commit(f.data[:n]) }

// Commit stores data, cut into values, with one transaction. Took excludes the creation of a new file and includes
// preallocation.
func (f *Floor) Commit(data []byte) error {
	used := int64(0)
	if err := f.db.View(func(tx *bolt.Tx) error { used = tx.Size(); return nil }); err != nil {
		return err
	}
	if used > segment {
		_ = f.db.Close()
		if err := f.open(); err != nil {
			return err
		}
		used = 0
	}
	start := time.Now()
	if want := used + 2*int64(len(data)) + step/4; want > f.allocated {
		ahead := (want + step - 1) / step * step
		if err := unix.Fallocate(int(f.file.Fd()), 0, f.allocated, ahead-f.allocated); err != nil {
			return err
		}
		f.allocated = ahead
	}
	err := f.db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(bucketName)
		bucket.FillPercent = 1
		for value := range slices.Chunk(data, f.block) {
			f.key++
			if err := bucket.Put(binary.BigEndian.AppendUint64(nil, f.key), value); err != nil {
				return err
			}
		}
		return nil
	})
	f.Took = append(f.Took, time.Since(start))
	return err
}
