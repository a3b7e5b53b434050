package segment

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/disk"
)

// boltLockWait is how long an open waits: an inspecting process holds bbolt's lock only while it opens.
const boltLockWait = 5 * time.Second

// OpenBolt opens a segment's file and lets go of bbolt's own lock: the data directory's lock is
// what keeps a second agent away, and without bbolt's an inspecting process may read beside us.
func OpenBolt(path string, o *bolt.Options) (*bolt.DB, error) {
	db, _, err := OpenBoltFile(path, o)
	return db, err
}

// OpenBoltFile is OpenBolt that also returns the file.
func OpenBoltFile(path string, o *bolt.Options) (db *bolt.DB, file *os.File, err error) {
	defer Contain(path, 0, &err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	o.Timeout = boltLockWait
	o.NoFreelistSync = true
	o.FreelistType = bolt.FreelistMapType
	o.NoStatistics = true
	o.OpenFile = func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
		f, err = os.OpenFile(name, flag, mode)
		file = f
		return f, err
	}
	if db, err = bolt.Open(path, 0o600, o); err != nil {
		return nil, nil, err
	}
	if err := disk.Unlock(file); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("unlock %s: %w", path, err), db.Close())
	}
	return db, file, nil
}

// OpenMapped opens a sealed segment.
func OpenMapped(path string) (*boltpage.File, error) {
	f, err := boltpage.Open(path, FileFaults{})
	if errors.Is(err, os.ErrNotExist) {
		return nil, &CorruptError{File: path, Reason: "the file is missing"}
	}
	if err != nil {
		return nil, err
	}
	if err := f.Map(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Contain turns a panic into an error: bbolt and a reader panic on a page that they can't use. A memory fault within the
// file, whose map begins at base, means that the disk could not read the page.
func Contain(path string, base uintptr, err *error) {
	switch r := recover().(type) {
	case nil:
	case *CorruptError:
		*err = r
	case *ReadError:
		*err = r
	case interface{ Addr() uintptr }:
		_, length, ok := disk.Sizes(path)
		if ok && base > 0 && r.Addr() >= base && r.Addr()-base < uintptr(length) {
			*err = &ReadError{path, "a mapped page", syscall.EIO}
			return
		}
		*err = &CorruptError{File: path, Reason: fmt.Sprint("page: ", r)}
	default:
		*err = &CorruptError{File: path, Reason: fmt.Sprint("page: ", r)}
	}
}

// ViewPages runs f on a sealed segment. A page that cannot be used, or a fault of the map, is an error.
func ViewPages(file *boltpage.File, f func(r Reader) error) (err error) {
	defer Contain(file.Path, file.Base(), &err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	s, err := file.Snapshot()
	if err != nil {
		return err
	}
	return f(pageReader{s})
}

// ViewBolt runs f in a read transaction. The map begins at base; 0: unknown.
func ViewBolt(db *bolt.DB, path string, base uintptr, f func(tx *bolt.Tx) error) (err error) {
	defer Contain(path, base, &err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return db.View(f)
}
