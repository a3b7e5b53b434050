package sink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// recoverLocked finishes what an earlier life left, once.
//
// The parts that the state names are cut to the size that the log vouches for: the events after
// it are delivered again. A part that it does not name was begun after the last checkpoint, so all
// of its events are delivered again and it is removed. Where there is no state at all, it may be
// that a log was lost and not that nothing was delivered: then a part is kept up to its last whole
// line.
func (f *File) recoverLocked() error {
	if f.recovered {
		return nil
	}
	for _, p := range f.found.Parts {
		if err := f.finish(p); err != nil {
			return err
		}
	}
	strays, err := strayParts(f.o.Path, f.o.Stream)
	if err != nil {
		return err
	}
	for _, path := range strays {
		if err := f.recoverStray(path); err != nil {
			return err
		}
	}
	f.recovered = true
	return nil
}

func (f *File) recoverStray(path string) error {
	size := int64(0)
	if len(f.o.State) == 0 {
		var err error
		if size, err = wholeLines(path); err != nil {
			return err
		}
	}
	if size > 0 {
		f.o.Logger.Warn("file: finishing an unfinished file that no state names", "file", path, "bytes", size)
		if err := f.cut(path, size); err != nil {
			return err
		}
		return renameFree(path, finalPath(path))
	}
	f.o.Logger.Warn("file: removing an unfinished file, its events were not settled", "file", path)
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove unfinished file: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// hourDir matches the directories of PATH/YYYY/MM/DD/HH.
var hourDir = regexp.MustCompile(`^\d{2,4}$`)

// strayParts returns the unfinished files of stream under root.
func strayParts(root, stream string) ([]string, error) {
	name := regexp.MustCompile(`^` + regexp.QuoteMeta(fileStream(stream)) + `-\d+\.jsonl(\.\d+)?\.tmp$`)
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() && path != root && !hourDir.MatchString(d.Name()):
			return fs.SkipDir
		case !d.IsDir() && name.MatchString(d.Name()):
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for unfinished files: %w", err)
	}
	return found, nil
}

// wholeLines returns the length of the file at path up to its last newline.
func wholeLines(path string) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("open unfinished file: %w", err)
	}
	defer file.Close()
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("seek unfinished file: %w", err)
	}
	buf := make([]byte, 64<<10)
	for end > 0 {
		n := min(int64(len(buf)), end)
		if _, err := file.ReadAt(buf[:n], end-n); err != nil {
			return 0, fmt.Errorf("read unfinished file: %w", err)
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}
