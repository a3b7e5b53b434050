package inspect

import "github.com/standpipe/standpipe/wal/internal/disk"

// Volume returns the file system of a folder. It makes one system call, which may hang as the disk does.
func Volume(dir string) (disk.Volume, error) { return disk.VolumeOf(dir) }
