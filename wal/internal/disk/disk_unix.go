//go:build unix

package disk

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrWouldBlock is returned by Lock while another process holds the lock.
var ErrWouldBlock error = unix.EWOULDBLOCK

// Lock takes an exclusive lock that ends with the process, or returns ErrWouldBlock at once.
func Lock(f *os.File) error { return flock(f, unix.LOCK_EX|unix.LOCK_NB) }

func flock(f *os.File, how int) (err error) {
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(f.Fd()), how)
	}
	return err
}

// Unlock releases a lock on the whole file, such as the one that bbolt takes.
func Unlock(f *os.File) error { return flock(f, unix.LOCK_UN) }

// SyncDir makes the creation, renaming and unlinking of files in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer d.Close()
	return SyncOpenDir(d)
}

// SyncOpenDir is SyncDir for a folder that is open.
func SyncOpenDir(d *os.File) error {
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", d.Name(), err)
	}
	return nil
}

// Sizes returns the bytes that a regular file's blocks occupy, and its length.
func Sizes(path string) (disk, length int64, ok bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, 0, false
	}
	return st.Blocks * 512, st.Size, true
}

// Trim releases the blocks that were allocated beyond size.
func Trim(f *os.File, size int64) error { return f.Truncate(size) }

// Free returns the bytes that are free for this process in dir's file system.
func Free(dir string) (size int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, err
	}
	return int64(fs.Bavail) * blockSize(&fs), nil //nolint:unconvert // the types differ by platform
}

// VolumeOf returns the file system of dir.
func VolumeOf(dir string) (v Volume, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return v, err
	}
	unit := blockSize(&fs)
	return Volume{
		Free: int64(fs.Bavail) * unit, //nolint:unconvert // the types differ by platform
		Size: int64(fs.Blocks) * unit, //nolint:unconvert // the types differ by platform
		Kind: kindOf(&fs),
	}, nil
}

// Map maps the file's first size bytes for reading.
func Map(f *os.File, size int64) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
}

// Unmap undoes Map. The bytes must not be read afterwards.
func Unmap(b []byte) error { return unix.Munmap(b) }

// NoDescriptor reports whether err means that the process, or the machine, has no file descriptor left.
func NoDescriptor(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// NoMemory reports whether err means that memory or address space is lacking.
func NoMemory(err error) bool { return errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EAGAIN) }

// Interrupted reports whether a signal ended the call. The caller can repeat the call at once.
func Interrupted(err error) bool { return errors.Is(err, unix.EINTR) }

// NoSpace reports whether err means that the disk is full or a quota is used up.
func NoSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
