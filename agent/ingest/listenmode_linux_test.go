package ingest_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/standpipe/standpipe/agent/ingest"
)

// TestUnixSocketFile_IsNeverWiderThanConfigured looks at the file all the while that it is made.
func TestUnixSocketFile_IsNeverWiderThanConfigured(t *testing.T) {
	dir := t.TempDir()
	for _, umask := range []int{0, 0o002, 0o022, 0o077} {
		for _, mode := range []os.FileMode{0o600, 0o660, 0o620} {
			func() {
				defer syscall.Umask(syscall.Umask(umask))
				for range 50 {
					if seen := widest(t, filepath.Join(dir, "s"), mode); seen&^mode != 0 {
						t.Fatalf("umask %03o: a socket of mode %v was seen as %v", umask, mode, seen)
					}
				}
			}()
		}
	}
}

// widest listens at path and returns all permissions that the file was seen with meanwhile.
func widest(t *testing.T, path string, mode os.FileMode) (seen os.FileMode) {
	t.Helper()
	stop, looked := make(chan struct{}), make(chan os.FileMode)
	ready := make(chan struct{})
	go func() {
		var all os.FileMode
		close(ready)
		for {
			if info, err := os.Stat(path); err == nil {
				all |= info.Mode().Perm()
			}
			select {
			case <-stop:
				looked <- all
				return
			default:
			}
		}
	}()
	<-ready
	l, err := ingest.Listen("unix", path, mode)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	close(stop)
	seen = <-looked
	l.Close()
	if err != nil || info.Mode().Perm() != mode {
		t.Errorf("listening: got %v, %v, want %v", info.Mode(), err, mode)
	}
	return seen
}
