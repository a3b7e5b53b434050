//go:build unix && !linux

package disk

import "golang.org/x/sys/unix"

// blockSize returns the unit of Statfs_t's block counts: Bsize is the fragment size here.
func blockSize(fs *unix.Statfs_t) int64 {
	return int64(fs.Bsize) //nolint:unconvert // the types differ by platform
}
