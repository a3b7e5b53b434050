//go:build unix

package walcmd

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFolder locks an open folder against other processes, or fails at once.
func lockFolder(folder *os.File) error {
	return unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}
