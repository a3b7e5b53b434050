package segment

import (
	"errors"
)

// A format version counts only if the content that protects it is intact: a checksum over the same bytes, or the page
// itself. Otherwise it is damage. So every later format keeps the version first, and the checksum at its position.

// LaterVersion returns a VersionError for a part whose version is above known, and nil for every other version.
func LaterVersion(part string, got, known uint64) error {
	if got <= known {
		return nil
	}
	return &VersionError{Part: part, Got: got, Known: known}
}

// InFile turns a decoding error into an error about the file. That is a CorruptError, unless a later release wrote the
// part, or the part could not be read.
func InFile(path string, err error) error {
	var later *VersionError
	switch {
	case err == nil || Unread(err):
		return err
	case errors.As(err, &later):
		return &VersionError{path, later.Part, later.Got, later.Known}
	}
	return &CorruptError{File: path, Reason: err.Error()}
}

// Later reports whether err is about a part that a later release wrote.
func Later(err error) bool {
	var v *VersionError
	return errors.As(err, &v)
}
