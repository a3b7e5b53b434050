package disk

import "golang.org/x/sys/unix"

// blockSize returns the unit of Statfs_t's block counts, which is the fragment size. Bsize is the best size of a
// transfer, and is larger on NFS and some FUSE file systems. Emulations of Linux may leave Frsize zero.
func blockSize(fs *unix.Statfs_t) int64 {
	if fs.Frsize > 0 {
		return int64(fs.Frsize) //nolint:unconvert // the types differ by platform
	}
	return int64(fs.Bsize) //nolint:unconvert // the types differ by platform
}
