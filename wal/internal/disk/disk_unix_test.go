//go:build unix

package disk_test

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/wal/internal/disk"
)

// A used-up quota counts as a full disk wherever errors are classified.
func TestShortage_CountsAQuotaAsSpace(t *testing.T) {
	for _, c := range []struct {
		errno                    unix.Errno
		shortage, space, written bool
	}{
		{unix.ENOSPC, true, true, true},
		{unix.EDQUOT, true, true, true},
		{unix.EMFILE, true, false, false},
		{unix.ENFILE, true, false, false},
		{unix.ENOMEM, true, false, false},
		{unix.EAGAIN, true, false, false},
		{unix.EINTR, true, false, false},
		{unix.EIO, false, false, false},
		{unix.EROFS, false, false, false},
		{unix.EFBIG, false, false, false},
	} {
		write := fmt.Errorf("commit: %w", &os.PathError{Op: "write", Path: "p", Err: c.errno})
		sync := fmt.Errorf("commit: %w", &os.PathError{Op: "sync", Path: "p", Err: c.errno})
		if got := disk.Shortage(write); got != c.shortage {
			t.Errorf("%v: got shortage %t, want %t", c.errno, got, c.shortage)
		}
		if got := disk.NoSpace(write); got != c.space {
			t.Errorf("%v: got no space %t, want %t", c.errno, got, c.space)
		}
		if got := disk.WriteFoundNoSpace(write); got != c.written {
			t.Errorf("a write's %v: got %t, want %t", c.errno, got, c.written)
		}
		if disk.WriteFoundNoSpace(sync) {
			t.Errorf("a sync's %v counts as a write that found no space", c.errno)
		}
	}
}
