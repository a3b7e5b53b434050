package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// recoverLocked finishes, once, the files that an earlier process left unfinished.
//
// Parts in the state are cut to the size in the state: the events after it are delivered again. A part that the state
// does not name and that begins at or after the checkpoint was created after the last checkpoint: all of its events are
// delivered again, and it is removed. A part that begins before the checkpoint has delivered lines: an earlier start
// did not find it, since its disk was missing, and dropped it from the state. Such a part is kept up to its last whole
// line. So is every part if there is no state at all, because the log may have been lost although events were
// delivered.
func (f *Sink) recoverLocked() error {
	if f.recovered {
		return nil
	}
	here := f.found
	if f.moved() {
		f.recoverOld()
		here = manifest{}
	}
	if err := f.recoverRoot(f.o.Path, here.Parts, len(f.o.State) > 0 && !f.moved()); err != nil {
		return err
	}
	f.recovered = true
	return nil
}

// moved reports whether the state's parts are under another directory than Path: the destination had another path when
// the log last committed the state.
func (f *Sink) moved() bool {
	if f.found.Root == "" || f.found.Root == f.o.Path {
		return false
	}
	then, err := os.Stat(f.found.Root)
	if err != nil {
		return true
	}
	now, err := os.Stat(f.o.Path)
	return err != nil || !os.SameFile(then, now)
}

// recoverOld finishes the files under the destination's former path. It logs once the files that it can't finish there.
// The new path works in either case.
func (f *Sink) recoverOld() {
	root := f.found.Root
	err := f.recoverRoot(root, f.found.Parts, true)
	if err == nil && len(f.found.Parts) > 0 && !exists(root) {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.o.Logger.Error("unfinished output files left at the former path", "stream", f.o.Stream, "path", root,
			"files", f.found.names(), "error", err)
	}
}

func (s manifest) names() (names []string) {
	for _, p := range s.Parts {
		names = append(names, p.Tmp)
	}
	return names
}

// recoverRoot finishes the parts under root, and the files under it that no state names. known means that the state is
// about this root. Then an unfinished file that begins at or after the checkpoint was created after it, and its events
// are delivered again.
func (f *Sink) recoverRoot(root string, parts []part, known bool) error {
	for i := range parts {
		if err := f.finish(root, &parts[i]); err != nil {
			return err
		}
	}
	strays, err := strayParts(root, f.o.Stream)
	if err != nil {
		return err
	}
	for _, s := range strays {
		if err := f.recoverStray(s, known); err != nil {
			return err
		}
	}
	return nil
}

func (f *Sink) recoverStray(s stray, known bool) error {
	size := int64(0)
	if !known || s.first < f.o.Checkpoint {
		var err error
		if size, err = wholeLines(s.path); err != nil {
			return err
		}
	}
	if size > 0 {
		f.o.Logger.Warn("file: finishing an unfinished file that no state names", "file", s.path, "bytes", size)
		return f.finish(filepath.Dir(s.path), &part{Tmp: filepath.Base(s.path), Size: size})
	}
	f.o.Logger.Warn("file: removing an unfinished file, its events were not settled", "file", s.path)
	if err := os.Remove(s.path); err != nil {
		return fmt.Errorf("remove unfinished file: %w", err)
	}
	return f.disk.syncDir(filepath.Dir(s.path))
}

// Finish finishes the files that a file destination left unfinished, for a destination that has another type now. It
// returns the state that the log stores for it from then on, or nil if o.State is not the state of a Sink.
func Finish(o Options) (state []byte) {
	found, err := decodeManifest(o.State)
	if err != nil || found.Root == "" {
		return nil
	}
	o.Path = found.Root
	if err := o.setDefaults(); err != nil {
		return nil
	}
	f := &Sink{o: o, disk: realDisk, found: found}
	f.recoverOld()
	return manifest{}.encode()
}

// FinishParked finishes the files that a destination left unfinished, for a destination that is not configured any
// more. It leaves alone files that the state does not name: another destination may write to the same directory. It
// returns the state that the log stores from then on, nil if there is nothing to change, or an error if a file cannot
// be finished now.
func FinishParked(o Options) (state []byte, err error) {
	found, err := decodeManifest(o.State)
	if err != nil || found.Root == "" || len(found.Parts) == 0 {
		return nil, nil
	}
	o.Path = found.Root
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(found.Root); err != nil {
		return nil, fmt.Errorf("finish files: %w", err)
	}
	f := &Sink{o: o, disk: realDisk}
	for i := range found.Parts {
		if err := f.finish(found.Root, &found.Parts[i]); err != nil {
			return nil, err
		}
	}
	return manifest{Root: found.Root}.encode(), nil
}

// stray is an unfinished file that no state names.
type stray struct {
	path  string
	first uint64 // offset of its first event
}

// hourDir matches the directories of PATH/YYYY/MM/DD/HH.
var hourDir = regexp.MustCompile(`^\d{2,4}$`)

// strayParts returns the unfinished files of stream that lie exactly as deep under root as the Sink's files. Others
// belong to another path.
func strayParts(root, stream string) ([]stray, error) {
	name := regexp.MustCompile(`^` + regexp.QuoteMeta(fileStream(stream)) + `-(\d+)\.jsonl(\.\d+)?\.tmp$`)
	var found []stray
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() && path != root && !hourDir.MatchString(d.Name()):
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		if parts := name.FindStringSubmatch(d.Name()); parts != nil && depth(root, path) == 5 {
			first, err := strconv.ParseUint(parts[1], 10, 64)
			if err != nil {
				return nil // not an offset, so not a file of ours
			}
			found = append(found, stray{path, first})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for unfinished files: %w", err)
	}
	return found, nil
}

// depth returns the number of path elements from root to path.
func depth(root, path string) int {
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return 0
	}
	return strings.Count(filepath.ToSlash(rel), "/") + 1
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
