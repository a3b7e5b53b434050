package disk

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// ErrWouldBlock is returned by Lock while another process holds the lock.
var ErrWouldBlock error = windows.ERROR_LOCK_VIOLATION

// Lock takes an exclusive lock that ends with the process, or returns ErrWouldBlock at once. The locked byte lies far
// beyond the file's text, so that other processes can read the text.
func Lock(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
}

// Unlock does nothing: bbolt's lock covers a byte that no process reads.
func Unlock(*os.File) error { return nil }

// SyncDir does nothing: Windows has no call that syncs a folder, and NTFS journals the entries of folders.
func SyncDir(string) error { return nil }

// SyncOpenDir does nothing, like SyncDir.
func SyncOpenDir(*os.File) error { return nil }

// Sizes returns a regular file's length twice.
func Sizes(path string) (disk, length int64, ok bool) {
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() {
		return 0, 0, false
	}
	return st.Size(), st.Size(), true
}

// Trim does nothing: a file that is mapped cannot be cut.
func Trim(*os.File, int64) error { return nil }

// Free returns the bytes that are free for this process on dir's volume.
func Free(dir string) (size int64, err error) {
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

// VolumeOf returns dir's volume. Its Kind is empty.
func VolumeOf(dir string) (v Volume, err error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return v, err
	}
	var free, size uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, &size, nil); err != nil {
		return v, err
	}
	return Volume{Free: int64(min(free, 1<<62)), Size: int64(min(size, 1<<62))}, nil
}

// Map maps the file's first size bytes for reading.
func Map(f *os.File, size int64) ([]byte, error) {
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

// Unmap undoes Map. The bytes must not be read afterwards.
func Unmap(b []byte) error {
	return windows.UnmapViewOfFile(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}

// NoDescriptor reports whether err means that the process has no handle left.
func NoDescriptor(err error) bool {
	return errors.Is(err, windows.ERROR_TOO_MANY_OPEN_FILES) || errors.Is(err, windows.ERROR_NO_MORE_SEARCH_HANDLES)
}

// NoMemory reports whether err means that memory or address space is lacking.
func NoMemory(err error) bool {
	return errors.Is(err, windows.ERROR_NOT_ENOUGH_MEMORY) || errors.Is(err, windows.ERROR_COMMITMENT_LIMIT)
}

// Interrupted returns false: signals do not interrupt calls on Windows.
func Interrupted(error) bool { return false }

// NoSpace reports whether err means that the disk is full or a quota is used up.
func NoSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}
