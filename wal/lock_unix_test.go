//go:build unix

package wal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/wal"
)

// Older releases lock only LOCK. An older release and this one still exclude each other.
func TestLock_ExcludesOlderReleases(t *testing.T) {
	o := wal.Options{Dir: t.TempDir(), LockTimeout: time.Millisecond}
	lock := func() (*os.File, error) {
		f, err := os.OpenFile(filepath.Join(o.Dir, "LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
		must(t, err)
		return f, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	older, err := lock()
	must(t, err)
	_, err = older.WriteString("process 17 on node\n")
	must(t, err)
	if _, err := wal.Open(t.Context(), o); !errors.Is(err, wal.ErrLocked) || !strings.Contains(err.Error(), "process 17 on node") {
		t.Errorf("got %v beside an older release, want ErrLocked and who holds it", err)
	}
	must(t, older.Close())
	l := open(t, o)
	defer l.Close()
	older, err = lock()
	if !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("an older release locks LOCK beside an open log: got %v, want EWOULDBLOCK", err)
	}
	must(t, older.Close())
}
