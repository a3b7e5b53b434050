//go:build unix

package wal

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Operating system calls of the log beyond package os. platform_linux.go and platform_other.go have the calls that only
// Linux has, platform_windows.go those of Windows.

// errWouldBlock is returned by lockFile while another process holds the lock.
var errWouldBlock error = unix.EWOULDBLOCK

// lockFile takes an exclusive lock that ends with the process, or returns errWouldBlock at once.
func lockFile(f *os.File) error { return flock(f, unix.LOCK_EX|unix.LOCK_NB) }

func flock(f *os.File, how int) (err error) {
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(f.Fd()), how)
	}
	return err
}

// unlockBolt releases the lock that bbolt took on a segment: the data directory's lock keeps a second agent
// away, and an inspecting process may read beside this one.
func unlockBolt(f *os.File) error { return flock(f, unix.LOCK_UN) }

// syncDir makes creates, renames and unlinks in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer d.Close()
	return syncFolder(d)
}

// syncFolder is syncDir of a folder that is open.
func syncFolder(d *os.File) error {
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", d.Name(), err)
	}
	return nil
}

// fileSizes returns the bytes that a regular file's blocks occupy, and its length.
func fileSizes(path string) (disk, length int64, ok bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, 0, false
	}
	return st.Blocks * 512, st.Size, true
}

// trimFile releases the blocks that were allocated beyond size.
func trimFile(f *os.File, size int64) error { return f.Truncate(size) }

// freeBytes returns the bytes that dir's file system has for this process.
func freeBytes(dir string) (size int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, err
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil //nolint:unconvert // the types differ by platform
}

// mapFile maps the file's first size bytes for reading.
func mapFile(f *os.File, size int64) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
}

func unmapFile(b []byte) error { return unix.Munmap(b) }

// noDescriptor reports whether err means that the process, or the machine, has no file descriptor left.
func noDescriptor(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// noMemory reports whether err is about memory or address space.
func noMemory(err error) bool { return errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EAGAIN) }

// interrupted reports whether a signal ended the call, which is repeated at once.
func interrupted(err error) bool { return errors.Is(err, unix.EINTR) }

// noSpace reports whether err is a full disk or a used-up quota.
func noSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
