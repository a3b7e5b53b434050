package sink

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// Committed notes that the log holds state. It only wakes the goroutine that renames.
func (f *File) Committed(state []byte) {
	kept := append([]byte(nil), state...)
	f.committed.Store(&kept)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// keep rolls the current file when it is due and finishes the files that the log vouches for.
func (f *File) keep() {
	defer close(f.done)
	for {
		select {
		case <-f.stop:
			return
		case <-f.wake:
		case <-f.retry.C:
		case <-f.due.C:
			f.mu.Lock()
			f.rollLocked()
			f.mu.Unlock()
		}
		f.finishCovered()
	}
}

// rollLocked ends the current file: it is whole, and waits to be finished.
func (f *File) rollLocked() {
	p := f.current
	if p == nil {
		return
	}
	f.current = nil
	f.due.Stop()
	p.file.Close() // all that counts is synced
	if p.Size == 0 {
		os.Remove(filepath.Join(f.o.Path, p.Tmp))
		return
	}
	f.rolled = append(f.rolled, p.part)
}

// abandonLocked ends the current file after a sync that failed. What was synced before is on the
// disk: the file is cut back to it when it is finished.
func (f *File) abandonLocked() {
	f.o.Logger.Error("file: sync failed, going on in a new file",
		"file", f.current.Tmp, "synced", f.current.Size)
	f.rollLocked()
}

// finishCovered finishes the files whose lines are all covered by the committed checkpoint, in
// order. Before that a crash would deliver lines again that stand in a finished file.
func (f *File) finishCovered() {
	b := f.committed.Load()
	if b == nil {
		return
	}
	s, err := decodeState(*b)
	if err != nil {
		f.o.Logger.Error("file: committed state", "stream", f.o.Stream, "error", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.rolled) > 0 && s.covers(f.rolled[0]) {
		if err := f.finish(f.rolled[0]); err != nil {
			f.o.Logger.Error("file: finish", "file", f.rolled[0].Tmp, "error", err)
			f.retry.Reset(finishRetry)
			return
		}
		f.rolled = f.rolled[1:]
	}
}

// finish cuts a part to what is synced and gives it its name. A part that is gone was finished.
func (f *File) finish(p part) error {
	path := filepath.Join(f.o.Path, p.Tmp)
	err := f.cut(path, p.Size)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return renameFree(path, finalPath(path))
}

// cut makes the file at path size bytes long, synced.
func (f *File) cut(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open unfinished file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("stat unfinished file: %w", err)
	}
	switch {
	case info.Size() == size:
		return nil
	case info.Size() < size:
		f.o.Logger.Error("file: delivered lines are missing", "file", path, "bytes", info.Size(), "want", size)
		return nil
	}
	if err := f.disk.truncate(file, size); err != nil {
		return fmt.Errorf("cut unfinished file to %d: %w", size, err)
	}
	if err := f.disk.sync(file); err != nil {
		return fmt.Errorf("sync unfinished file: %w", err)
	}
	return nil
}

// renameFree renames old to path, or to the first free numbered name beside it, and syncs the
// directory.
func renameFree(old, path string) error {
	for n := 1; ; n++ {
		err := renameNew(old, numbered(path, n))
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("finish file: %w", err)
		}
		return syncDir(filepath.Dir(path))
	}
}

var tmpEnd = regexp.MustCompile(`(\.\d+)?\.tmp$`)

// finalPath is the path of the finished file of the unfinished one at tmp.
func finalPath(tmp string) string { return tmpEnd.ReplaceAllString(tmp, "") }

// Close ends the current file and finishes every one. The log holds the last checkpoint by then.
func (f *File) Close() error {
	f.closing.Do(func() {
		close(f.stop)
		<-f.done
		f.mu.Lock()
		defer f.mu.Unlock()
		f.rollLocked()
		f.closeErr = f.finishAllLocked()
	})
	return f.closeErr
}

func (f *File) finishAllLocked() error {
	var all []error
	for _, p := range f.rolled {
		all = append(all, f.finish(p))
	}
	f.rolled = nil
	return errors.Join(all...)
}
