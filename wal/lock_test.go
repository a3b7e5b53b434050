package wal_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// LOCK looks like a stale PID file. Removing or replacing it must not let a second agent open the log.
func TestLock_HoldsWhenItsFileIsGone(t *testing.T) {
	for name, change := range map[string]func(lock string) error{
		"removed": os.Remove,
		"renamed": func(lock string) error { return os.Rename(lock, lock+".old") },
		"replaced": func(lock string) error {
			return errors.Join(os.Remove(lock), os.WriteFile(lock, []byte("process 1 on elsewhere\n"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := wal.Options{Dir: t.TempDir(), LockTimeout: time.Millisecond}
			l := open(t, o)
			appendOne(t, l, "s", "k", "first")
			must(t, change(filepath.Join(o.Dir, "LOCK")))
			second, err := wal.Open(t.Context(), o)
			if !errors.Is(err, wal.ErrLocked) {
				t.Fatalf("got %v, want ErrLocked", err)
			}
			if second != nil {
				t.Fatal("got a second log of the same directory")
			}
			appendOne(t, l, "s", "k", "second")
			must(t, l.Close())
			l = open(t, o)
			if got := l.Next("s"); got != 3 {
				t.Errorf("got next %d, want 3", got)
			}
		})
	}
}
