package segfile

import (
	"errors"
	"fmt"

	"github.com/standpipe/standpipe/wal/internal/disk"
)

// Used returns the length of the file's pages, which blocks and state occupy.
func (f *File) Used() int64 { return f.used.Load() }

// Allocated returns the length up to which Allocate has allocated disk blocks.
func (f *File) Allocated() int64 { return f.allocated.Load() }

// Unallocated reports whether the file system cannot allocate disk blocks: then the bytes beyond Used may be missing.
func (f *File) Unallocated() bool { return f.unallocated.Load() }

// Reserved returns the length that Allocate has given to the file, with or without disk blocks.
func (f *File) Reserved() int64 { return max(f.allocated.Load(), f.length) }

// Allocate allocates disk blocks for the file's first size bytes. Where the file system cannot do that, it lengthens
// the file: bbolt would do that too, with a sync, and would not report the cause of an error.
func (f *File) Allocate(size int64) error {
	have := f.allocated.Load()
	err := errors.ErrUnsupported
	if !f.unallocated.Load() {
		err = disk.Uninterrupted(func() error { return disk.Allocate(f.file, have, size-have) })
	}
	switch {
	case err == nil:
		f.allocated.Store(size)
		return nil
	case errors.Is(err, errors.ErrUnsupported):
		f.unallocated.Store(true)
		if err = disk.Lengthen(f.file, size); err == nil {
			f.length = size
			return nil
		}
	}
	return fmt.Errorf("allocate %d bytes of %s: %w", size, f.Path, err)
}

// Lengthen makes the file at least size bytes long.
func (f *File) Lengthen(size int64) error {
	if err := disk.Lengthen(f.file, size); err != nil {
		return fmt.Errorf("lengthen %s: %w", f.file.Name(), err)
	}
	return nil
}

// Trim frees the disk blocks beyond Used.
func (f *File) Trim() error {
	return disk.Uninterrupted(func() error { return disk.Trim(f.file, f.used.Load()) })
}
