package testkit

import (
	"os"
	"testing"
)

// MemoryDir returns a directory in memory, if the machine has one, for a test that syncs often and whose subject is not the
// disk. Otherwise it returns t.TempDir.
func MemoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "standpipe-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
