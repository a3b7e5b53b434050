package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Shortage reports whether err is a lack of space, descriptors or memory, or an interrupted call. The next attempt may
// succeed.
func Shortage(err error) bool {
	return NoSpace(err) || NoDescriptor(err) || NoMemory(err) || Interrupted(err)
}

// Uninterrupted repeats f while a signal interrupts it, up to 100 times. If every call is interrupted, the error is a
// Shortage.
func Uninterrupted(f func() error) error {
	for range 100 {
		if err := f(); !Interrupted(err) {
			return err
		}
	}
	return f()
}

// RemoveIfExists removes a file. A missing file is not an error.
func RemoveIfExists(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Files returns the paths of the entries of dir whose names match, in the order of their names. The name of dir may
// have any character, unlike a pattern of filepath.Glob.
func Files(dir string, match func(name string) bool) (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if match(e.Name()) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// LengthenPath is Lengthen for a file that is not open.
func LengthenPath(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(Lengthen(f, size), f.Close())
}

// Lengthen extends a file that is shorter than size bytes, without allocating blocks.
func Lengthen(f *os.File, size int64) error {
	st, err := f.Stat()
	if err != nil || st.Size() >= size {
		return err
	}
	return f.Truncate(size)
}

// MakeDir creates dir and its missing parents. It syncs each folder that got a new entry, so that a power loss after
// the first ack does not lose the whole log.
func MakeDir(dir string) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MakeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make data directory: %w", err)
	}
	return SyncDir(parent)
}

// WriteFoundNoSpace reports whether err is a write that failed for lack of space. A sync with the same error does not
// count: the pages that it should have written are lost.
func WriteFoundNoSpace(err error) bool {
	var pe *os.PathError
	return errors.As(err, &pe) && pe.Op == "write" && NoSpace(pe.Err)
}

// Length returns a file's length, or 0 if the file cannot be found.
func Length(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return st.Size()
}
