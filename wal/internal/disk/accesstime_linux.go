package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// KeepAccessTime makes reads of f leave the time of the last access as it is, if the process owns the file. Otherwise the first read after
// each write would change the inode, and a file system without a journal writes a changed inode with the next sync: one more write that
// the sync waits for.
func KeepAccessTime(f *os.File) {
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err == nil {
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETFL, flags|unix.O_NOATIME) // EPERM for others than the owner
	}
}
