package wal

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// errWouldBlock is returned by lockFile while another process holds the lock.
var errWouldBlock error = windows.ERROR_LOCK_VIOLATION

// lockFile takes an exclusive lock that ends with the process, or returns errWouldBlock at once. The locked
// byte lies far beyond the file's text, which others may read.
func lockFile(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
}

// unlockBolt does nothing: bbolt's lock covers a byte that no process reads.
func unlockBolt(*os.File) error { return nil }

// syncDir does nothing: Windows has no call that syncs a folder, NTFS journals its entries.
func syncDir(string) error { return nil }

func syncFolder(*os.File) error { return nil }

// fileSizes returns a regular file's length twice.
func fileSizes(path string) (disk, length int64, ok bool) {
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() {
		return 0, 0, false
	}
	return st.Size(), st.Size(), true
}

// trimFile does nothing: a file that is mapped can't be cut.
func trimFile(*os.File, int64) error { return nil }

// freeBytes returns the bytes that dir's volume has for this process.
func freeBytes(dir string) (size int64, err error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, err
	}
	return int64(min(free, 1<<62)), nil
}

// mapFile maps the file's first size bytes for reading.
func mapFile(f *os.File, size int64) ([]byte, error) {
	mapping, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READONLY, uint32(size>>32), uint32(size), nil)
	if err != nil {
		return nil, fmt.Errorf("create file mapping: %w", err)
	}
	defer windows.CloseHandle(mapping) // the view keeps it
	addr, err := windows.MapViewOfFile(mapping, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, fmt.Errorf("map view: %w", err)
	}
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), size), nil
}

func unmapFile(b []byte) error {
	return windows.UnmapViewOfFile(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}

// noDescriptor reports whether err means that the process has no handle left.
func noDescriptor(err error) bool {
	return errors.Is(err, windows.ERROR_TOO_MANY_OPEN_FILES) || errors.Is(err, windows.ERROR_NO_MORE_SEARCH_HANDLES)
}

// noMemory reports whether err is about memory or address space.
func noMemory(err error) bool {
	return errors.Is(err, windows.ERROR_NOT_ENOUGH_MEMORY) || errors.Is(err, windows.ERROR_COMMITMENT_LIMIT)
}

// interrupted: no call is.
func interrupted(error) bool { return false }

// noSpace reports whether err is a full disk or a used-up quota.
func noSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}
