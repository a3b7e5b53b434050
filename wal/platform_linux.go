package wal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocateFile gives size bytes of f from offset on blocks on the disk, or returns errors.ErrUnsupported.
func allocateFile(f *os.File, offset, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, offset, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return errors.ErrUnsupported
	}
	return err
}
