package wal

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
)

// segmentPages is a segment's file, read page by page.
type segmentPages struct {
	*boltpage.File
	seq     uint64 // the segment's number
	summed  bool   // the state's entries have checksums
	lenient bool   // a part that cannot be read or decoded is one more damaged place, as it is for tools
}

// openBoltFile opens the file. It neither locks nor maps it.
func openBoltFile(path string) (*segmentPages, error) {
	f, err := boltpage.Open(path, fileFaults{})
	return &segmentPages{File: f}, err
}

// inspectBoltFile is openBoltFile for tools, which go on after a page that the disk cannot read.
func inspectBoltFile(path string) (*segmentPages, error) {
	f, err := boltpage.Open(path, fileFaults{lenient: true})
	return &segmentPages{File: f, lenient: true}, err
}

// fault returns the error of decoding a part of the file. A tool goes on after a part that a later release wrote.
func (f *segmentPages) fault(err error) error {
	if f.lenient {
		return &CorruptError{File: f.Path, Reason: err.Error()}
	}
	return inFile(f.Path, err)
}

func (f *segmentPages) corrupt(format string, args ...any) error {
	return &CorruptError{File: f.Path, Reason: fmt.Sprintf(format, args...)}
}

// fileFaults makes the errors of reading a file's pages.
type fileFaults struct {
	lenient bool // a read that fails is damage
}

func (fileFaults) Corrupt(file, reason string) error {
	return &CorruptError{File: file, Reason: reason}
}

func (x fileFaults) Unread(file, part string, err error) error {
	if x.lenient || errors.Is(err, syscall.EISDIR) {
		return &CorruptError{File: file, Reason: fmt.Sprintf("%s: %v", part, err)}
	}
	return &readError{file, part, err}
}

func (fileFaults) Later(file string, got, known uint64) error {
	return &VersionError{File: file, Part: "bbolt", Got: got, Known: known}
}
