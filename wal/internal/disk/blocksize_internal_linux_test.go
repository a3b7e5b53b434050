package disk

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestBlockSize_IsTheFragmentSize(t *testing.T) {
	for _, c := range []struct {
		name          string
		bsize, frsize int64
		want          int64
	}{
		{"ext4", 4096, 4096, 4096},
		{"NFS with transfers of 1 MiB", 1 << 20, 4096, 4096},
		{"larger fragments", 4096, 65536, 65536},
		{"no fragment size", 4096, 0, 4096},
	} {
		var fs unix.Statfs_t
		setSizes(&fs, c.bsize, c.frsize)
		if got := blockSize(&fs); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

// setSizes assigns the sizes, whose types differ by platform.
func setSizes(fs *unix.Statfs_t, bsize, frsize int64) {
	assign(&fs.Bsize, bsize)
	assign(&fs.Frsize, frsize)
}

func assign[T int32 | int64 | uint32](to *T, v int64) { *to = T(v) }
