package boltpage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"time"
	"unsafe"

	"github.com/standpipe/standpipe/wal/internal/disk"
)

// Whoever inspects a log, and the log itself in sealed segments, reads bbolt's file format
// (go.etcd.io/bbolt v1.5, internal/common) page by page, without bbolt: that takes a lock on the file,
// which a starting agent may run into, and answers a bad page with a panic or a fault of its memory map in
// a goroutine where nobody can contain it, or follows it for ever.
//
// Beside a running agent a page is sound while the file's meta pages are as they were when the
// snapshot began. bbolt copies on write: the pages that transaction T can reach may be freed by T+1
// and overwritten by T+2, before T+2's own meta page but after T+1's. So one look at the meta pages
// after the read is enough, and a page is the piece that is read between two looks.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader   = 16
	metaLength   = 64 // magic to checksum, behind the page's header
	metaPageSize = 8
	metaRoot     = 16
	metaEnd      = 40 // the first page beyond all that are in use
	metaTx       = 48
	metaSum      = 56

	smallestPage = 1 << 10
	largestPage  = 1 << 24

	// SoundFor is how long a read of a file that is being written is tried again.
	SoundFor = 20 * time.Second

	metaLooks = 10
	metaPause = 5 * time.Millisecond
)

// File is a bbolt file that is open for reading.
type File struct {
	f        *os.File
	Path     string
	faults   Faults
	pageSize int64
	mapped   []byte    // the whole file, if it is mapped
	last     *Snapshot // the newest one that was still sound when it was last looked at
}

// Metas is what the two meta pages hold; a file that is too short leaves zeros.
type Metas [2][metaLength]byte

// Snapshot is the file as one transaction left it.
type Snapshot struct {
	file  *File
	metas Metas
	root  uint64 // the page where the bucket of buckets begins
	end   uint64

	branches map[uint64]*Page
	owners   map[uint64]uint64 // which element refers to a page
}

// Faults makes the errors of a file: its user decides which types they have.
type Faults interface {
	// Corrupt returns the error of content that bbolt did not write so.
	Corrupt(file, reason string) error
	// Unread returns the error of a read of a part of the file that failed with err.
	Unread(file, part string, err error) error
	// Later returns the error of a file whose format has version got, which is beyond known.
	Later(file string, got, known uint64) error
}

// Open opens the file for reading. It neither locks nor maps it.
func Open(path string, faults Faults) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	file := &File{f: f, Path: path, faults: faults}
	for range 3 { // one of the meta pages may be half written at any time, and then the other
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

// Map maps the file, whose pages are from here on those of the map: they are not copied, and reading them
// may be a memory fault. It must not become longer, and nothing of a page may be used after close. The file needs no
// descriptor any more.
func (f *File) Map() error {
	st, err := f.f.Stat()
	if err != nil {
		return fmt.Errorf("map segment: %w", err)
	}
	if f.mapped, err = disk.Map(f.f, st.Size()); err != nil {
		return fmt.Errorf("map %s of %d bytes: %w", f.Path, st.Size(), err)
	}
	err = f.f.Close()
	f.f = nil
	return err
}

// Base returns the address of the map, 0 when there is none.
func (f *File) Base() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(f.mapped))) }

// MappedLength returns the length of the map, 0 when there is none.
func (f *File) MappedLength() int64 { return int64(len(f.mapped)) }

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

// findPageSize asks the first meta page, or the second wherever that may be.
func (f *File) findPageSize() (int64, error) {
	var m [metaLength]byte
	for at := int64(0); at <= largestPage; at = max(2*at, smallestPage) {
		if err := f.readMeta(&m, at); err != nil {
			return 0, err
		}
		if metaFault(&m) == errBoltVersion {
			if got := uint64(binary.NativeEndian.Uint32(m[4:])); got > boltVersion {
				return 0, f.faults.Later(f.Path, got, boltVersion)
			}
		}
		size := int64(binary.NativeEndian.Uint32(m[metaPageSize:]))
		if metaFault(&m) == "" && size >= smallestPage && size <= largestPage && (at == 0 || at == size) {
			return size, nil
		}
	}
	return 0, f.corrupt("no meta page is valid")
}

func (f *File) readMeta(m *[metaLength]byte, page int64) error {
	*m = [metaLength]byte{}
	if f.mapped != nil {
		copy(m[:], f.mapped[min(page+pageHeader, int64(len(f.mapped))):])
		return nil
	}
	if _, err := f.f.ReadAt(m[:], page+pageHeader); err != nil && !errors.Is(err, io.EOF) {
		return f.unread("meta page", err)
	}
	return nil
}

func (f *File) ReadMetas() (m Metas, err error) {
	return m, errors.Join(f.readMeta(&m[0], 0), f.readMeta(&m[1], f.pageSize))
}

func metaFault(m *[metaLength]byte) string {
	sum := fnv.New64a()
	sum.Write(m[:metaSum])
	switch {
	case binary.NativeEndian.Uint32(m[:]) != boltMagic:
		return "no bbolt file"
	case binary.NativeEndian.Uint64(m[metaSum:]) != sum.Sum64():
		return "the meta page's checksum does not match"
	case binary.NativeEndian.Uint32(m[4:]) != boltVersion:
		return errBoltVersion
	}
	return ""
}

const errBoltVersion = "another version of bbolt's format"

// CheckMetas returns what is wrong with one of the two meta pages. A write may be under way: what is
// wrong must stay so.
func (f *File) CheckMetas(ctx context.Context) error {
	for range metaLooks {
		m, err := f.ReadMetas()
		if err != nil {
			return err
		}
		if metaFault(&m[0]) == "" && metaFault(&m[1]) == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(metaPause):
		}
	}
	return f.corrupt("one of the two meta pages is not valid; the last commit may be missing")
}

// Snapshot begins to read what the newest transaction left.
func (f *File) Snapshot() (*Snapshot, error) {
	m, err := f.ReadMetas()
	if err != nil {
		return nil, err
	}
	s := &Snapshot{file: f, metas: m, branches: make(map[uint64]*Page), owners: make(map[uint64]uint64)}
	newest := uint64(0)
	for i := range m {
		if metaFault(&m[i]) != "" {
			continue
		}
		if tx := binary.NativeEndian.Uint64(m[i][metaTx:]); s.end == 0 || tx > newest {
			newest = tx
			s.root = binary.NativeEndian.Uint64(m[i][metaRoot:])
			s.end = binary.NativeEndian.Uint64(m[i][metaEnd:])
		}
	}
	if s.end == 0 {
		return s, f.corrupt("no meta page is valid")
	}
	return s, nil
}

// OneMeta reports whether one of the two meta pages is not valid, so that the last commit may be missing.
func (s *Snapshot) OneMeta() bool {
	return metaFault(&s.metas[0]) != "" || metaFault(&s.metas[1]) != ""
}

// holds tells whether nothing was committed since the snapshot began, so that what was read is sound.
func (s *Snapshot) holds() bool {
	m, err := s.file.ReadMetas()
	return err != nil || m == s.metas
}

// Try runs read on a snapshot. held is false when what it found, and its error, mean nothing.
func (f *File) Try(read func(*Snapshot) error) (held bool, err error) {
	s := f.last
	if f.last = nil; s == nil {
		s, err = f.Snapshot()
	}
	if s == nil {
		return true, err
	}
	if err == nil {
		err = read(s)
	}
	if held = s.holds(); held && s.end > 0 {
		f.last = s
	}
	return held, err
}

// Sound runs read, again and again until the snapshot still held when it ended. So read may run more
// than once, should read little, and its result counts only when sound returns.
func (f *File) Sound(ctx context.Context, read func(*Snapshot) error) error {
	for giveUp := time.Now().Add(SoundFor); ; {
		held, err := f.Try(read)
		if held {
			return err
		}
		if err := f.Expired(ctx, giveUp); err != nil {
			return err
		}
	}
}

func (f *File) Expired(ctx context.Context, giveUp time.Time) error {
	if time.Now().After(giveUp) {
		return fmt.Errorf("read %s: it is written faster than it can be read, tried for %s", f.Path, SoundFor)
	}
	return ctx.Err()
}
