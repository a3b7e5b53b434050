package dirlock_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal/internal/dirlock"
)

func options(t *testing.T, logged *bytes.Buffer) dirlock.Options {
	t.Helper()
	o := dirlock.Options{
		Dir: t.TempDir(), Timeout: 10 * time.Second, NodeName: "here", Sync: (*os.File).Sync,
		Logger: hclog.New(&hclog.LoggerOptions{Output: logged}),
	}
	o.Folder = filepath.Join(o.Dir, "wal")
	if err := os.Mkdir(o.Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return o
}

// A second Acquire waits for the timeout, names the holder, and succeeds once the lock is released.
func TestAcquire_WaitsForTheHolder(t *testing.T) {
	var logged bytes.Buffer
	o := options(t, &logged)
	synctest.Test(t, func(t *testing.T) {
		first, err := dirlock.Acquire(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := dirlock.Acquire(t.Context(), o); !errors.Is(err, dirlock.ErrLocked) || !strings.Contains(err.Error(), " on here") {
			t.Errorf("got %v, want ErrLocked and the holder", err)
		}
		if waited := time.Since(begin); waited < o.Timeout || waited > o.Timeout+time.Second {
			t.Errorf("got %s waited, want %s", waited, o.Timeout)
		}
		if n := strings.Count(logged.String(), "[WARN]"); n != 1 {
			t.Errorf("got %d lines, want one: %s", n, &logged)
		}
		time.AfterFunc(time.Second, func() {
			if err := errors.Join(first.Sync(), first.Release()); err != nil {
				t.Error(err)
			}
		})
		second, err := dirlock.Acquire(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Release(); err != nil {
			t.Error(err)
		}
	})
}

func TestAcquire_EndsWithItsContext(t *testing.T) {
	o := options(t, new(bytes.Buffer))
	synctest.Test(t, func(t *testing.T) {
		first, err := dirlock.Acquire(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Release()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := dirlock.Acquire(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}

func TestAcquire_FailsWithoutTheFolder(t *testing.T) {
	o := options(t, new(bytes.Buffer))
	o.Folder += "x"
	if _, err := dirlock.Acquire(t.Context(), o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that the folder is missing", err)
	}
}
