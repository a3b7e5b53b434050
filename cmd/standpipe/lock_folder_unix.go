//go:build unix

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFolder keeps another process out of an open folder, or fails at once.
func lockFolder(folder *os.File) error {
	return unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}
