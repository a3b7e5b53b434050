package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// kinds are the file systems in memory and over a network, by their magic number: statfs(2).
var kinds = map[uint32]string{
	unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs", unix.NFS_SUPER_MAGIC: "nfs", unix.SMB_SUPER_MAGIC: "smb",
	unix.SMB2_SUPER_MAGIC: "smb2", unix.CIFS_SUPER_MAGIC: "cifs", unix.CEPH_SUPER_MAGIC: "ceph", unix.AFS_SUPER_MAGIC: "afs",
	unix.V9FS_MAGIC: "9p", unix.FUSE_SUPER_MAGIC: "fuse", unix.OVERLAYFS_SUPER_MAGIC: "overlay",
}

func kindOf(fs *unix.Statfs_t) string { return kinds[uint32(fs.Type)] } //nolint:unconvert // the types differ by platform

// OverwritesInPlace reports whether the file system of f writes a changed block of the file to its old place. It is false for unknown
// file systems.
func OverwritesInPlace(f *os.File) bool {
	var fs unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &fs) != nil {
		return false
	}
	magic := uint32(fs.Type) //nolint:unconvert // the types differ by platform
	return magic == unix.EXT4_SUPER_MAGIC || magic == unix.XFS_SUPER_MAGIC
}
