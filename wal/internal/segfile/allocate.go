package segfile

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/standpipe/standpipe/wal/internal/disk"
)

// allocation is the newest segment's use of its file. The writer owns it; any goroutine may read the atomic fields.
type allocation struct {
	file        *os.File
	used        atomic.Int64 // the end of bbolt's pages
	allocated   atomic.Int64 // the end of the allocated disk blocks
	unallocated atomic.Bool  // the file system cannot allocate disk blocks
	length      int64        // of the file, when it is unallocated
	prewritten  int64        // the end of the blocks that Prewrite has written
	zeros       int64        // bytes that Prewrite has written since the last commit
	inPlace     bool         // a block that was written once is written again in its place
}

// Used returns the length of the file's pages, which blocks and state occupy.
func (a *allocation) Used() int64 { return a.used.Load() }

// Allocated returns the length up to which Allocate has allocated disk blocks.
func (a *allocation) Allocated() int64 { return a.allocated.Load() }

// Unallocated reports whether the file system cannot allocate disk blocks: then the bytes beyond Used may be missing.
func (a *allocation) Unallocated() bool { return a.unallocated.Load() }

// Reserved returns the length that Allocate has given to the file, with or without disk blocks.
func (a *allocation) Reserved() int64 { return max(a.allocated.Load(), a.length) }

// Allocate allocates disk blocks for the file's first size bytes. Where the file system cannot do that, it lengthens
// the file: bbolt would do that too, with a sync, and would not report the cause of an error.
func (f *File) Allocate(size int64) error {
	if err := f.allocate(size); err != nil {
		return fmt.Errorf("allocate %d bytes of %s: %w", size, f.Path, err)
	}
	return nil
}

func (a *allocation) allocate(size int64) error {
	have := a.allocated.Load()
	err := errors.ErrUnsupported
	if !a.unallocated.Load() {
		err = disk.Uninterrupted(func() error { return disk.Allocate(a.file, have, size-have) })
	}
	switch {
	case err == nil:
		a.allocated.Store(size)
		return nil
	case errors.Is(err, errors.ErrUnsupported):
		a.unallocated.Store(true)
		if err = disk.Lengthen(a.file, size); err == nil {
			a.length = size
			return nil
		}
	}
	return err
}

// Lengthen makes the file at least size bytes long.
func (a *allocation) Lengthen(size int64) error {
	if err := disk.Lengthen(a.file, size); err != nil {
		return fmt.Errorf("lengthen %s: %w", a.file.Name(), err)
	}
	return nil
}

// Trim frees the disk blocks beyond Used.
func (a *allocation) Trim() error {
	return disk.Uninterrupted(func() error { return disk.Trim(a.file, a.used.Load()) })
}
