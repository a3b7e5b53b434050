package boltpage

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/standpipe/standpipe/wal/internal/disk"
)

// File is a bbolt file that is open for reading.
type File struct {
	Path string // as it was opened

	f        *os.File // nil when the file is mapped
	faults   Faults
	pageSize int64
	before   uint64    // snapshots ignore this transaction and later ones; 0: none
	mapped   []byte    // the whole file, if it is mapped
	last     *Snapshot // the last one, if no commit came before its last use ended; Try reuses it

	Overlay Overlay // set before the first snapshot; nil: there is none
}

// Overlay returns elements by the names of their buckets, in the order of their keys. A snapshot has them in the leaves of
// these buckets, in the place of those with the same keys. Check does not see them.
type Overlay func(s *Snapshot) (map[string][]Element, error)

// Faults makes the errors of a file, whose types are those of the file's user.
type Faults interface {
	// Corrupt returns the error of damaged content.
	Corrupt(file, reason string) error
	// Unread returns the error of a failed read; part names the page.
	Unread(file, part string, err error) error
	// Later returns the error of a file whose format version got is above the known one.
	Later(file string, got, known uint64) error
}

// Open opens the file for reading. It neither locks nor maps it. Errors: those of os.Open and of Faults.
func Open(path string, faults Faults) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	file := &File{f: f, Path: path, faults: faults}
	for range 3 { // a writer may have half written one meta page, and then the other
		if file.pageSize, err = file.findPageSize(); err == nil {
			return file, nil
		}
	}
	return nil, errors.Join(err, f.Close())
}

// View opens the file, calls read with a snapshot of it, and closes it.
func View(path string, faults Faults, read func(s *Snapshot) error) (err error) {
	f, err := Open(path, faults)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s, err := f.Snapshot()
	if err != nil {
		return err
	}
	return read(s)
}

// Map maps the whole file and closes its descriptor. Pages are no longer copied: their bytes are those of the map, and
// reading them may be a memory fault. The file must not change its length, and no byte of a page may be used after Close.
func (f *File) Map() error {
	st, err := f.f.Stat()
	if err != nil {
		return fmt.Errorf("map %s: %w", f.Path, err)
	}
	if f.mapped, err = disk.Map(f.f, st.Size()); err != nil {
		return fmt.Errorf("map %s of %d bytes: %w", f.Path, st.Size(), err)
	}
	err = f.f.Close()
	f.f = nil
	return err
}

// PageSize returns the bytes of a page.
func (f *File) PageSize() int64 { return f.pageSize }

// Base returns the address of the map, 0 when there is none.
func (f *File) Base() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(f.mapped))) }

// MappedLength returns the length of the map, 0 when there is none.
func (f *File) MappedLength() int64 { return int64(len(f.mapped)) }

// Close closes the file and unmaps it.
func (f *File) Close() error {
	var err error
	if f.mapped != nil {
		err = disk.Unmap(f.mapped)
		f.mapped = nil
	}
	if f.f != nil {
		err = errors.Join(err, f.f.Close())
	}
	return err
}

func (f *File) unread(part string, err error) error { return f.faults.Unread(f.Path, part, err) }

func (f *File) corrupt(format string, args ...any) error {
	return f.faults.Corrupt(f.Path, fmt.Sprintf(format, args...))
}
