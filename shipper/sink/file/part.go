package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/standpipe/standpipe/shipper"
)

// part is an unfinished file, as the log stores it in the state.
type part struct {
	Tmp  string `json:"tmp"`  // its path under the state's Root
	Size int64  `json:"size"` // bytes that are synced and belong to delivered events
	Last uint64 `json:"last"` // offset of the last event in them

	id    fs.FileInfo // identifies the file; nil if an earlier process created it
	named bool        // whether it has its final name
}

// manifest is the state that the log stores for a Sink: every part, oldest first.
type manifest struct {
	Root  string `json:"root,omitempty"` // the Path above the parts; "": written by an older release, the present Path
	Parts []part `json:"parts"`
}

func (s manifest) encode() []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // never happens with strings and numbers
	}
	return b
}

func decodeManifest(b []byte) (manifest, error) {
	var s manifest
	if len(b) == 0 {
		return s, nil
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, err
	}
	for _, p := range s.Parts {
		if !filepath.IsLocal(p.Tmp) || p.Size < 0 {
			return s, fmt.Errorf("part %q of %d bytes", p.Tmp, p.Size)
		}
	}
	return s, nil
}

// covers reports whether s has p with at least p's present size.
func (s manifest) covers(p *part) bool {
	for _, q := range s.Parts {
		if q.Tmp == p.Tmp {
			return q.Size >= p.Size
		}
	}
	return false
}

// openPart is the part that is being appended to.
type openPart struct {
	*part
	path string
	file *os.File // opened with O_APPEND: after another process cut the file, no write leaves a hole
}

// syncError is returned for a failed sync. Bytes that were not synced before it may be lost although a later sync
// succeeds, so nothing more is appended to the file.
type syncError struct{ err error }

func (e *syncError) Error() string { return e.err.Error() }
func (e *syncError) Unwrap() error { return e.err }

// lostError is returned when the part's name does not lead to the part any more, or its bytes are not the written ones:
// another process removed, moved, replaced or cut it.
type lostError struct {
	path   string
	reason string
	moved  bool  // the name leads elsewhere or nowhere
	keep   int64 // number of its bytes that belong to events that counted as delivered before
}

func (e *lostError) Error() string { return fmt.Sprintf("output file %s: %s", e.path, e.reason) }

// append writes the batch at the end of the synced bytes, and syncs it. Consumers find the events only if the name then
// still leads to the file and the file has the expected length; otherwise append returns a lostError. After any other
// error the part holds its earlier bytes, or more; the next append cuts it first.
func (p *openPart) append(batch []shipper.Record, d disk) error {
	size, err := p.reach()
	switch {
	case err != nil:
		return err
	case size < p.Size:
		return p.lost(fmt.Sprintf("cut from %d to %d bytes", p.Size, size), size)
	case size > p.Size:
		if err := d.truncate(p.file, p.Size); err != nil {
			return fmt.Errorf("cut back to %d: %w", p.Size, err)
		}
	}
	at := p.Size
	for _, r := range batch {
		if _, err := d.write(p.file, r.Data); err != nil {
			p.giveBack(d)
			return fmt.Errorf("write %d bytes at %d: %w", len(r.Data), at, err)
		}
		at += int64(len(r.Data))
	}
	if err := d.sync(p.file); err != nil {
		return &syncError{fmt.Errorf("sync %s at %d: %w", p.path, at, err)}
	}
	if size, err = p.reach(); err != nil {
		return err
	}
	if size != at {
		return p.lost(fmt.Sprintf("%d bytes long after a write from %d to %d", size, p.Size, at), p.without(batch, size))
	}
	p.Size, p.Last = at, batch[len(batch)-1].Last
	return nil
}

// without returns the length, without the batch at its end, of a part that another process cut to size bytes.
func (p *openPart) without(batch []shipper.Record, size int64) int64 {
	var written []byte
	for _, r := range batch {
		written = append(written, r.Data...)
	}
	end := make([]byte, min(size, int64(len(written))))
	if _, err := p.file.ReadAt(end, size-int64(len(end))); err != nil || bytes.Equal(end, written[len(written)-len(end):]) {
		return min(size-int64(len(end)), p.Size)
	}
	return min(size, p.Size)
}

// giveBack frees the space of a failed write. If another process cut the part meanwhile, giveBack must not make it
// longer: the next append detects the cut.
func (p *openPart) giveBack(d disk) {
	if info, err := p.file.Stat(); err == nil && info.Size() > p.Size {
		_ = d.truncate(p.file, p.Size) // if this fails, the next append does it
	}
}

// reach returns the part's length, or a lostError if its name does not lead to it.
func (p *openPart) reach() (size int64, err error) {
	info, err := p.file.Stat()
	if errors.Is(err, syscall.ESTALE) {
		return 0, &lostError{path: p.path, reason: "removed on the server", moved: true}
	}
	if err != nil {
		return 0, fmt.Errorf("stat output file: %w", err)
	}
	named, err := os.Lstat(p.path)
	moved := &lostError{path: p.path, moved: true, keep: min(info.Size(), p.Size)}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		moved.reason = "removed or moved away"
		return 0, moved
	case err != nil:
		return 0, fmt.Errorf("stat output file: %w", err)
	case !os.SameFile(info, named):
		moved.reason = "replaced by another file"
		return 0, moved
	}
	return info.Size(), nil
}

func (p *openPart) lost(reason string, keep int64) *lostError {
	return &lostError{path: p.path, reason: reason, keep: keep}
}

// createPart creates a part for the file name in dir, and syncs dir. It never uses the name of an existing file,
// finished or not.
func (f *Sink) createPart(dir, name string) (*openPart, error) {
	var id fs.FileInfo
	for n := 1; ; n++ {
		tmp := filepath.Join(dir, tmpName(name, n))
		if n == 1 && exists(filepath.Join(f.o.Path, dir, name)) {
			continue
		}
		path := filepath.Join(f.o.Path, tmp)
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, f.o.fileMode())
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("create file: %w", err)
		}
		if err = f.o.grant(file.Chmod, f.o.fileMode()); err == nil {
			id, err = file.Stat()
		}
		if err == nil {
			err = f.disk.syncDir(filepath.Dir(path))
		}
		if err != nil {
			file.Close()
			os.Remove(path)
			return nil, err
		}
		return &openPart{part: &part{Tmp: tmp, id: id}, path: path, file: file}, nil
	}
}

const tmpSuffix = ".tmp"

// tmpName returns the n-th name, from 1, of the unfinished file name.
func tmpName(name string, n int) string {
	if n == 1 {
		return name + tmpSuffix
	}
	return fmt.Sprintf("%s.%d%s", name, n, tmpSuffix)
}

// numbered returns the n-th name, from 1, of the finished file path.
func numbered(path string, n int) string {
	if n == 1 {
		return path
	}
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, ext), n, ext)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
