package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// Committed stores the state that the log has committed. It does no more than wake the goroutine that finishes files.
func (f *Sink) Committed(state []byte) {
	kept := append([]byte(nil), state...)
	f.committed.Store(&kept)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// keep rolls the current file when it is due, and finishes the files that the committed state covers.
func (f *Sink) keep() {
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

// rollLocked ends the current file. The file is whole then and waits to be finished.
func (f *Sink) rollLocked() {
	p := f.current
	if p == nil {
		return
	}
	size, err := p.reach()
	var lost *lostError
	switch {
	case errors.As(err, &lost):
		f.loseLocked(lost)
		return
	case err == nil && size < p.Size:
		f.loseLocked(p.lost(fmt.Sprintf("cut from %d to %d bytes", p.Size, size), size))
		return
	}
	f.endLocked()
}

// endLocked ends the current file as rollLocked does, but without a check of its Size.
func (f *Sink) endLocked() {
	p := f.current
	f.current = nil
	f.due.Stop()
	p.file.Close() // everything in Size is synced
	f.rolled = append(f.rolled, p.part)
	f.removeEmptyLocked()
}

// removeEmptyLocked removes the files without delivered events. It tries files that it can't remove again later. Until
// then the state names them, because the events in them go into another file.
func (f *Sink) removeEmptyLocked() {
	f.rolled = slices.DeleteFunc(f.rolled, func(p *part) bool {
		return p.Size == 0 && f.finish(f.o.Path, p) == nil
	})
}

// abandonLocked ends the current file after a failed sync. The bytes synced before are on the disk: the file is cut
// back to them when it is finished.
func (f *Sink) abandonLocked() {
	f.o.Logger.Error("file: sync failed, going on in a new file",
		"file", f.current.Tmp, "synced", f.current.Size)
	f.rollLocked()
}

// loseLocked ends a current file that another process removed, moved, replaced or cut. Events that counted as delivered
// before stay where the change left them. The other events are cut off, since they go into a new file.
func (f *Sink) loseLocked(lost *lostError) {
	p := f.current
	f.o.Logger.Error("output file changed by somebody else; going on in a new file", "stream", f.o.Stream,
		"file", p.path, "reason", lost.reason, "bytes", p.Size, "last_offset", p.Last)
	if info, err := p.file.Stat(); err == nil && info.Size() > lost.keep {
		if err := errors.Join(f.disk.truncate(p.file, lost.keep), f.disk.sync(p.file)); err != nil {
			f.o.Logger.Warn("output file may repeat events", "file", p.path, "error", err)
		}
	}
	p.Size = min(p.Size, lost.keep)
	if !lost.moved {
		f.endLocked()
		return
	}
	f.current = nil
	f.due.Stop()
	p.file.Close()
}

// finishCovered finishes, in order, the files whose lines are all covered by the committed checkpoint. A file is not
// finished earlier, because after a crash its lines would be delivered again.
func (f *Sink) finishCovered() {
	b := f.committed.Load()
	if b == nil {
		return
	}
	s, err := decodeManifest(*b)
	if err != nil {
		f.o.Logger.Error("file: committed state", "stream", f.o.Stream, "error", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.rolled) > 0 && s.covers(f.rolled[0]) {
		if err := f.finish(f.o.Path, f.rolled[0]); err != nil {
			f.o.Logger.Error("file: finish", "file", f.rolled[0].Tmp, "error", err)
			f.retry.Reset(finishRetry)
			return
		}
		f.rolled = f.rolled[1:]
	}
}

// finish cuts a part under root to its synced size, renames it to its final name and syncs the directory. It may be
// called again after an error. If a part of an earlier process is gone, it was finished.
func (f *Sink) finish(root string, p *part) error {
	path := filepath.Join(root, p.Tmp)
	if !p.named {
		err := f.cut(path, p)
		gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, errOther)
		switch {
		case gone && p.id != nil && p.Size > 0:
			f.o.Logger.Error("output file removed, moved or replaced before it was finished", "stream", f.o.Stream,
				"file", path, "bytes", p.Size, "last_offset", p.Last)
			return nil
		case err != nil && !gone:
			return err
		case gone:
		case p.Size == 0: // no delivered events, or cut to nothing by another process; if it comes back, it is empty
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("remove empty file: %w", err)
			}
			return nil
		default:
			if err := renameFree(path, finalPath(path)); err != nil {
				return err
			}
		}
		p.named = true
	}
	if err := f.disk.syncDir(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// errOther is returned when the name of a part leads to another file.
var errOther = errors.New("another file has the name")

// cut cuts the part at path to Size bytes and syncs it.
func (f *Sink) cut(path string, p *part) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open unfinished file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("stat unfinished file: %w", err)
	}
	named, err := os.Lstat(path)
	switch {
	case err != nil:
		return fmt.Errorf("stat unfinished file: %w", err)
	case p.id != nil && !os.SameFile(p.id, named):
		return errOther
	case info.Size() < p.Size:
		f.o.Logger.Error("file: delivered lines are missing", "file", path, "bytes", info.Size(), "want", p.Size)
		p.Size = info.Size()
	case info.Size() > p.Size:
		if err := f.disk.truncate(file, p.Size); err != nil {
			return fmt.Errorf("cut unfinished file to %d: %w", p.Size, err)
		}
	}
	if err := f.disk.sync(file); err != nil { // also for an earlier cut whose sync failed
		return fmt.Errorf("sync unfinished file: %w", err)
	}
	return nil
}

// renameFree renames old to path, or to the first free numbered name beside it. The caller syncs the directory.
func renameFree(old, path string) error {
	for n := 1; ; n++ {
		err := renameNew(old, numbered(path, n))
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("finish file: %w", err)
		}
		return nil
	}
}

var tmpEnd = regexp.MustCompile(`(\.\d+)?\.tmp$`)

// finalPath returns the path of the finished file for the unfinished one at tmp.
func finalPath(tmp string) string { return tmpEnd.ReplaceAllString(tmp, "") }

// Close ends the current file and finishes all files. The caller has committed the last checkpoint to the log before.
func (f *Sink) Close() error {
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

func (f *Sink) finishAllLocked() error {
	var all []error
	for _, p := range f.rolled {
		all = append(all, f.finish(f.o.Path, p))
	}
	f.rolled = nil
	return errors.Join(all...)
}
