package disk

import "golang.org/x/sys/unix"

// Release takes the pages of a file's map at addr out of the process's memory. They stay in the cache of the kernel, and
// the next access maps them again. The map must be a shared one of a file, and exist until Release returns.
func Release(addr uintptr, size int64) {
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, addr, uintptr(size), unix.MADV_DONTNEED) // an error changes nothing
}
