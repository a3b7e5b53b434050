package file

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// fdatasync syncs a file's bytes and its length.
func fdatasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// renameNew renames old to path and never overwrites: it returns fs.ErrExist if path exists. Some file systems do not
// support the system call that does this in one step.
func renameNew(old, path string) error {
	err := unix.Renameat2(unix.AT_FDCWD, old, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return renameUnlessThere(old, path)
	}
	return err
}
