package segment

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/small"
)

// Pages is a segment's file, read page by page.
type Pages struct {
	*boltpage.File
	Seq     uint64 // the segment's number
	Summed  bool   // the state's entries have checksums
	lenient bool   // for tools: a part that cannot be read or decoded is damage, and reading goes on
}

// OpenPages opens the file. It neither locks nor maps it.
func OpenPages(path string) (*Pages, error) {
	f, err := open(path, FileFaults{})
	return &Pages{File: f}, err
}

// open opens the file, whose snapshots have the small commits.
func open(path string, faults FileFaults) (*boltpage.File, error) {
	f, err := boltpage.Open(path, faults)
	if err == nil {
		f.Overlay = small.Overlay(BucketBlocks, BucketState)
	}
	return f, err
}

// InspectPages is OpenPages for tools, which continue after a page that the disk cannot read.
func InspectPages(path string) (*Pages, error) {
	f, err := open(path, FileFaults{lenient: true})
	return &Pages{File: f, lenient: true}, err
}

// Fault returns the error of decoding a part of the file. For a tool, a part of a later release is damage, so that the
// tool continues after it.
func (f *Pages) Fault(err error) error {
	if f.lenient {
		return &CorruptError{File: f.Path, Reason: err.Error()}
	}
	return InFile(f.Path, err)
}

// Corrupt returns a CorruptError of the file.
func (f *Pages) Corrupt(format string, args ...any) error {
	return &CorruptError{File: f.Path, Reason: fmt.Sprintf(format, args...)}
}

// FileFaults makes the errors of reading a file's pages.
type FileFaults struct {
	lenient bool // a read that fails is damage
}

func (FileFaults) Corrupt(file, reason string) error {
	return &CorruptError{File: file, Reason: reason}
}

func (x FileFaults) Unread(file, part string, err error) error {
	if x.lenient || errors.Is(err, syscall.EISDIR) {
		return &CorruptError{File: file, Reason: fmt.Sprintf("%s: %v", part, err)}
	}
	return &ReadError{file, part, err}
}

func (FileFaults) Later(file string, got, known uint64) error {
	return &VersionError{File: file, Part: "bbolt", Got: got, Known: known}
}

// CheckPages verifies every page that bbolt can reach of a file that holds no block.
func CheckPages(path string) error {
	return boltpage.View(path, FileFaults{}, func(s *boltpage.Snapshot) error {
		return s.Check(func([]byte, uint64) func(boltpage.Element) error { return func(boltpage.Element) error { return nil } })
	})
}
