package sink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/standpipe/standpipe/shipper"
)

// part is a file that is not finished, as the log vouches for it.
type part struct {
	Tmp  string `json:"tmp"`  // its path under Path
	Size int64  `json:"size"` // bytes that are synced and belong to delivered events
	Last uint64 `json:"last"` // offset of the last event in them
}

// fileState is what the log keeps for a File: every part, oldest first.
type fileState struct {
	Parts []part `json:"parts"`
}

func (s fileState) encode() []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings and numbers
	}
	return b
}

func decodeState(b []byte) (fileState, error) {
	var s fileState
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

// covers says that s vouches for all of p.
func (s fileState) covers(p part) bool {
	for _, q := range s.Parts {
		if q.Tmp == p.Tmp {
			return q.Size >= p.Size
		}
	}
	return false
}

// openPart is the part that takes appends.
type openPart struct {
	part
	file *os.File
	torn bool // the file may hold bytes past Size
}

// syncError is a sync that failed. What was not synced before it may be lost although a later
// sync succeeds, so the file takes no more appends.
type syncError struct{ err error }

func (e *syncError) Error() string { return e.err.Error() }
func (e *syncError) Unwrap() error { return e.err }

// append writes the batch at the end of what is synced, and syncs it. After an error the part is
// as it was, or torn; the next append cuts it first.
func (p *openPart) append(batch []shipper.Record, d disk) error {
	if err := p.mend(d); err != nil {
		return err
	}
	p.torn = true
	at := p.Size
	for _, r := range batch {
		n, err := d.writeAt(p.file, r.Data, at)
		if err != nil {
			p.mend(d) // gives the space back at once; when it can't be, the next append tries again
			return fmt.Errorf("write %d bytes at %d: %w", len(r.Data), at, err)
		}
		at += int64(n)
	}
	if err := d.sync(p.file); err != nil {
		return &syncError{fmt.Errorf("sync %s at %d: %w", p.file.Name(), at, err)}
	}
	p.Size, p.Last, p.torn = at, batch[len(batch)-1].Last, false
	return nil
}

// mend cuts off what is not synced.
func (p *openPart) mend(d disk) error {
	if !p.torn {
		return nil
	}
	if err := d.truncate(p.file, p.Size); err != nil {
		return fmt.Errorf("cut back to %d: %w", p.Size, err)
	}
	p.torn = false
	return nil
}

// createPart creates a part for the file name in dir, and syncs dir. It never takes a name whose
// file is already there, finished or not.
func createPart(root, dir, name string) (*openPart, error) {
	for n := 1; ; n++ {
		tmp := filepath.Join(dir, tmpName(name, n))
		if n == 1 && exists(filepath.Join(root, dir, name)) {
			continue
		}
		file, err := os.OpenFile(filepath.Join(root, tmp), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("create file: %w", err)
		}
		if err := syncDir(filepath.Join(root, dir)); err != nil {
			file.Close()
			os.Remove(file.Name())
			return nil, err
		}
		return &openPart{part: part{Tmp: tmp}, file: file}, nil
	}
}

const tmpSuffix = ".tmp"

// tmpName is the n-th name, from 1, of the unfinished file name.
func tmpName(name string, n int) string {
	if n == 1 {
		return name + tmpSuffix
	}
	return fmt.Sprintf("%s.%d%s", name, n, tmpSuffix)
}

// numbered is the n-th name, from 1, of the finished file path.
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
