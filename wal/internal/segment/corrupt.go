package segment

import (
	"errors"
	"fmt"
)

// ErrClosed is returned by a use of a file after its log or its dead letters were closed.
var ErrClosed = errors.New("wal: the log is closed")

// CorruptError reports a part of a log that cannot be read, and its location.
type CorruptError struct {
	File   string // the segment's path
	Stream string // empty unless it is a block of one stream
	Offset uint64 // the block's first offset; 0 unless it is one block
	Reason string
}

func (e *CorruptError) Error() string {
	if e.Stream == "" {
		return fmt.Sprintf("wal: %s: %s", e.File, e.Reason)
	}
	return fmt.Sprintf("wal: %s: stream %q, block %d: %s", e.File, e.Stream, e.Offset, e.Reason)
}

// VersionError reports that a part of the log has a format that this release does not support. Open returns it and
// changes nothing, so that the release that wrote the log can still read it.
type VersionError struct {
	File       string // the segment's path, or that of the dead letters
	Part       string // the part of the file: "segment", "block", "index", "place", "dead letter", "bbolt"
	Got, Known uint64
}

func (e *VersionError) Error() string {
	text := fmt.Sprintf("written by a later release: %s version %d, this release knows up to %d", e.Part, e.Got, e.Known)
	if e.File == "" {
		return text
	}
	return fmt.Sprintf("wal: %s was %s", e.File, text)
}

// ReadError is an I/O error. It does not imply damage: another read may find the file's content to be sound.
type ReadError struct {
	File string
	Part string
	Err  error
}

func (e *ReadError) Error() string { return fmt.Sprintf("wal: %s: read %s: %v", e.File, e.Part, e.Err) }

func (e *ReadError) Unwrap() error { return e.Err }

// Unread reports whether err is an I/O error of a read.
func Unread(err error) bool {
	var r *ReadError
	return errors.As(err, &r)
}

// Damaged reports whether err is about a file's content rather than about access to it.
func Damaged(err error) bool {
	var corrupt *CorruptError
	return errors.As(err, &corrupt)
}

// AsCorrupt returns the CorruptError in err, or nil.
func AsCorrupt(err error) *CorruptError {
	corrupt := (*CorruptError)(nil)
	errors.As(err, &corrupt)
	return corrupt
}

// IgnoreCorrupt returns nil for damage, and every other error as it is. It is for damage that another reader will meet
// and report.
func IgnoreCorrupt(err error) error {
	if AsCorrupt(err) != nil {
		return nil
	}
	return err
}

// ReportCorrupt passes damage to bad, and returns every other error.
func ReportCorrupt(err error, bad func(*CorruptError)) error {
	if corrupt := AsCorrupt(err); corrupt != nil {
		bad(corrupt)
		return nil
	}
	return err
}

// Pass returns a function that passes damage to bad, and returns every other error.
func Pass(bad func(*CorruptError)) func(error) error {
	return func(err error) error { return ReportCorrupt(err, bad) }
}
