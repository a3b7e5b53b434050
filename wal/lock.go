package wal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const lockPoll = 50 * time.Millisecond

// lockDir takes the data directory for this process. The lock is the kernel's (flock): it ends
// with the process, however that ends. The file's text says who holds it.
func lockDir(ctx context.Context, o *Options) (*os.File, error) {
	path := filepath.Join(o.Dir, "LOCK")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	err = lockFile(f)
	if errors.Is(err, errWouldBlock) {
		o.Logger.Warn("the data directory is in use; waiting", "lock", path, "held_by", holder(path), "at_most", o.LockTimeout)
		err = waitLock(ctx, f, o.LockTimeout)
	}
	if err != nil {
		f.Close()
		if errors.Is(err, errWouldBlock) {
			return nil, fmt.Errorf("%w: %s is held by %s, waited %s", ErrLocked, path, holder(path), o.LockTimeout)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "process %d on %s\n", os.Getpid(), o.NodeName)
	}
	return f, nil
}

func waitLock(ctx context.Context, f *os.File, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		err := lockFile(f)
		if err == nil || !errors.Is(err, errWouldBlock) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

func holder(path string) string {
	text, err := os.ReadFile(path)
	if err != nil || len(text) == 0 {
		return "an unknown process"
	}
	return strings.TrimSpace(string(text))
}

// makeDir makes dir and what is missing above it, and syncs the folders that got a new entry, so that
// a power loss after the first ack does not take the whole log.
func makeDir(dir string) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make data directory: %w", err)
	}
	return syncDir(parent)
}
