package wal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/standpipe/standpipe/wal/internal/disk"
)

const lockPoll = 50 * time.Millisecond

// dirLock keeps a second process out of a data directory. Both locks are the kernel's (flock) and end with the
// process, however that ends.
type dirLock struct {
	// folder is the segments' folder. It cannot be unlinked while it holds segments, so this lock also holds after LOCK
	// was removed. The handle also serves for syncing the folder, which then needs no new descriptor.
	folder *os.File
	syncs  func(folder *os.File) error // Options.syncFolder
	// file is LOCK, whose text names the lock's holder. Older releases lock nothing else.
	file *os.File
}

// lockDir acquires the data directory for this process. The directory's segments are in the folder wal.
func lockDir(ctx context.Context, o *Options, wal string) (*dirLock, error) {
	path := filepath.Join(o.Dir, "LOCK")
	w := lockWait{opts: o, path: path, until: time.Now().Add(o.LockTimeout)}
	folder, err := os.Open(wal)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	l := &dirLock{folder: folder, syncs: o.syncFolder}
	if err := w.acquire(ctx, l.folder); err != nil && !errors.Is(err, errNoFolderLock) {
		return nil, errors.Join(err, l.release())
	}
	if l.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("open lock: %w", err), l.release())
	}
	if err := w.acquire(ctx, l.file); err != nil {
		return nil, errors.Join(err, l.release())
	}
	if err := l.file.Truncate(0); err == nil {
		fmt.Fprintf(l.file, "process %d on %s\n", os.Getpid(), o.NodeName)
	}
	return l, nil
}

func (l *dirLock) release() error {
	if l.file == nil {
		return l.folder.Close()
	}
	return errors.Join(l.file.Close(), l.folder.Close())
}

// sync makes every create, rename and unlink in the segments' folder durable: bbolt does not do this.
func (l *dirLock) sync() error { return l.syncs(l.folder) }

// lockWait waits for the two locks.
type lockWait struct {
	opts  *Options
	path  string // of LOCK
	until time.Time
	told  bool
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
			return fmt.Errorf("%w: %s is held by %s, waited %s", ErrLocked, w.path, holder(w.path), w.opts.LockTimeout)
		}
		if !w.told {
			w.told = true
			w.opts.Logger.Warn("the data directory is in use; waiting", "lock", w.path, "held_by", holder(w.path), "at_most", w.opts.LockTimeout)
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
