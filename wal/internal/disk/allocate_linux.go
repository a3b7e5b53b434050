package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Allocate reserves blocks on the disk for size bytes of f from offset on. A file system that cannot do so returns
// errors.ErrUnsupported.
func Allocate(f *os.File, offset, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, offset, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return errors.ErrUnsupported
	}
	return err
}
