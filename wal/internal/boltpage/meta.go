package boltpage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"time"
)

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

	metaLooks = 10
	metaPause = 5 * time.Millisecond
)

// MetaContent is the content of a meta page, which lies in one sector.
type MetaContent [metaLength]byte

// Metas has the content of the two meta pages. A file that is too short has zeros there.
type Metas [2]MetaContent

// Tx returns the transaction of meta page i. It reports false if the page is not valid.
func (m *Metas) Tx(i int) (tx uint64, ok bool) {
	return binary.NativeEndian.Uint64(m[i][metaTx:]), metaFault(&m[i]) == ""
}

// MetaAt returns the offset in the file at which the content of meta page i begins.
func MetaAt(pageSize int64, i int) int64 { return int64(i)*pageSize + pageHeader }

// findPageSize takes the page size from the first meta page or, if that is bad, from the second. It looks for the
// second at every possible page size.
func (f *File) findPageSize() (int64, error) {
	var m MetaContent
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

func (f *File) readMeta(m *MetaContent, page int64) error {
	*m = MetaContent{}
	if f.mapped != nil {
		copy(m[:], f.mapped[min(page+pageHeader, int64(len(f.mapped))):])
		return nil
	}
	if _, err := f.f.ReadAt(m[:], page+pageHeader); err != nil && !errors.Is(err, io.EOF) {
		return f.unread("meta page", err)
	}
	return nil
}

// ReadMetas reads the two meta pages, which change with every commit.
func (f *File) ReadMetas() (m Metas, err error) {
	return m, errors.Join(f.readMeta(&m[0], 0), f.readMeta(&m[1], f.pageSize))
}

// metaFault returns the fault of a meta page, "" when it is valid.
func metaFault(m *MetaContent) string {
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

// CheckMetas returns an error if one of the two meta pages is not valid. A writer may be writing one at the moment, so
// a fault counts only if it lasts for metaLooks reads.
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

// Reached reports whether transaction tx may have been stored in the file: a meta page has it or a later one, or cannot
// be read.
func Reached(file io.ReaderAt, pageSize int, tx uint64) bool {
	latest, err := latestTx(file, int64(pageSize))
	return err != nil || latest >= tx
}

// latestTx returns the higher of the transactions of the two meta pages, whose checksums may be wrong.
func latestTx(file io.ReaderAt, pageSize int64) (latest uint64, err error) {
	for i := range 2 {
		tx, err := ReadTx(file, pageSize, i)
		if err != nil {
			return 0, err
		}
		latest = max(latest, tx)
	}
	return latest, nil
}

// ReadTx reads the transaction of meta page i, whose checksum may be wrong.
func ReadTx(file io.ReaderAt, pageSize int64, i int) (uint64, error) {
	var b [8]byte
	if _, err := file.ReadAt(b[:], MetaAt(pageSize, i)+metaTx); err != nil {
		return 0, fmt.Errorf("read meta page %d: %w", i, err)
	}
	return binary.NativeEndian.Uint64(b[:]), nil
}
