package dirlock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal/internal/disk"
)

const lockPoll = 50 * time.Millisecond

// ErrLocked is wrapped by Acquire when another process holds the data directory.
var ErrLocked = errors.New("wal: the data directory is in use")

// Options of Acquire.
type Options struct {
	Dir      string        // the data directory, which holds LOCK
	Folder   string        // the folder of the segments, which exists
	Timeout  time.Duration // how long to wait for another process
	NodeName string        // the text of LOCK names it
	Logger   hclog.Logger
	Sync     func(folder *os.File) error // syncs the folder
}

// Lock excludes a second process from a data directory.
type Lock struct {
	// folder is the segments' folder. It cannot be unlinked while it holds segments, so this lock also holds after LOCK
	// was removed. The handle also serves for syncing the folder, which then needs no new descriptor.
	folder     *os.File
	syncFolder func(folder *os.File) error
	// file is LOCK, whose text names the lock's holder. Older releases lock nothing else.
	file *os.File
}

// Acquire acquires the data directory for this process. Errors: ErrLocked after Timeout; the error of ctx; errors of the
// file system.
func Acquire(ctx context.Context, o Options) (*Lock, error) {
	path := filepath.Join(o.Dir, "LOCK")
	w := lockWait{opts: &o, path: path, until: time.Now().Add(o.Timeout)}
	folder, err := os.Open(o.Folder)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	l := &Lock{folder: folder, syncFolder: o.Sync}
	if err := w.acquire(ctx, l.folder); err != nil && !errors.Is(err, errNoFolderLock) {
		return nil, errors.Join(err, l.Release())
	}
	if l.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("open lock: %w", err), l.Release())
	}
	if err := w.acquire(ctx, l.file); err != nil {
		return nil, errors.Join(err, l.Release())
	}
	if err := l.file.Truncate(0); err == nil {
		fmt.Fprintf(l.file, "process %d on %s\n", os.Getpid(), o.NodeName)
	}
	return l, nil
}

// Release lets another process acquire the directory.
func (l *Lock) Release() error {
	if l.file == nil {
		return l.folder.Close()
	}
	return errors.Join(l.file.Close(), l.folder.Close())
}

// Sync makes every create, rename and unlink in the segments' folder durable: bbolt does not do this.
func (l *Lock) Sync() error { return l.syncFolder(l.folder) }

// lockWait waits for the two locks.
type lockWait struct {
	opts   *Options
	path   string // of LOCK
	until  time.Time
	logged bool // that the process waits
}

// errNoFolderLock is the error of a file system that can lock files only, such as NFS. Then LOCK is the only lock.
var errNoFolderLock = errors.New("wal: the file system cannot lock a folder")

func (w *lockWait) acquire(ctx context.Context, f *os.File) error {
	for {
		err := disk.Lock(f)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, disk.ErrWouldBlock):
			return w.cannot(f, err)
		case time.Now().After(w.until):
			return fmt.Errorf("%w: %s is held by %s, waited %s", ErrLocked, w.path, holder(w.path), w.opts.Timeout)
		}
		if !w.logged {
			w.logged = true
			w.opts.Logger.Warn("the data directory is in use; waiting", "lock", w.path, "held_by", holder(w.path), "at_most", w.opts.Timeout)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lock %s: %w", f.Name(), ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}

func (w *lockWait) cannot(f *os.File, err error) error {
	if st, statErr := f.Stat(); statErr == nil && st.IsDir() {
		w.opts.Logger.Debug("the file system cannot lock a folder; LOCK alone keeps others out", "folder", f.Name(), "error", err)
		return errNoFolderLock
	}
	return fmt.Errorf("lock %s: %w", f.Name(), err)
}

func holder(path string) string {
	text, err := os.ReadFile(path)
	if err != nil || len(text) == 0 {
		return "an unknown process"
	}
	return strings.TrimSpace(string(text))
}
