package segment

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/disk"
)

// boltLockWait is how long an open waits for bbolt's lock. An inspecting process holds the lock only while it opens
// the file.
const boltLockWait = 5 * time.Second

// OpenBolt opens a segment's file and releases bbolt's own lock on it. The lock of the data directory excludes a
// second agent, and without bbolt's lock an inspecting process can read the file meanwhile.
func OpenBolt(path string, o *bolt.Options) (*bolt.DB, error) {
	db, _, err := OpenBoltFile(path, o)
	return db, err
}

// OpenBoltFile is OpenBolt, and also returns the file.
func OpenBoltFile(path string, o *bolt.Options) (db *bolt.DB, file *os.File, err error) {
	o.NoStatistics = true
	return OpenCountedBoltFile(path, o)
}

// OpenCountedBoltFile is OpenBoltFile for a file whose free pages bbolt counts, in its statistics.
func OpenCountedBoltFile(path string, o *bolt.Options) (db *bolt.DB, file *os.File, err error) {
	defer Contain(path, 0, &err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	o.Timeout = boltLockWait
	o.NoFreelistSync = true
	o.FreelistType = bolt.FreelistMapType
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

// OpenMapped opens a sealed segment and maps it.
func OpenMapped(path string) (*boltpage.File, error) {
	f, err := open(path, FileFaults{})
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

// Contain turns a panic into an error: bbolt and a Reader panic at a page that they cannot use. base is the address at
// which the file is mapped; 0: unknown. A memory fault within the length of the file means that the disk could not read
// the page, and is a ReadError. Every other fault is damage.
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

// ViewPages runs f on a sealed segment. It returns an error for a page that cannot be used and for a fault of the map.
func ViewPages(file *boltpage.File, f func(r Reader) error) (err error) {
	defer Contain(file.Path, file.Base(), &err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	s, err := file.Snapshot()
	if err != nil {
		return err
	}
	return f(pageReader{s})
}

// ViewBolt runs f in a read transaction. base is the address at which the file is mapped; 0: unknown.
func ViewBolt(db *bolt.DB, path string, base uintptr, f func(tx *bolt.Tx) error) (err error) {
	defer Contain(path, base, &err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return db.View(f)
}

// TooLong reports whether a commit would have made the file longer than the MaxSize of its db allows. bbolt checks that before it
// writes.
func TooLong(err error) bool { return errors.Is(err, berrors.ErrMaxSizeReached) }
