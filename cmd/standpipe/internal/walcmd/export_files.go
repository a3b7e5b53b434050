package walcmd

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// exportFiles writes lines to files in a folder. A file gets its final name after it is complete and synced.
type exportFiles struct {
	folder, stream, suffix string
	roll                   int64 // start a new file at this size

	lock        *os.File // the folder's, against another export
	file        *os.File // nil between files
	buffer      *bufio.Writer
	first, last uint64 // offsets in the file
	size        int64

	names   []string // of the finished files
	written int64    // bytes of all files
}

// open locks the folder and returns the last offset in the stream's files there; 0: none.
func (f *exportFiles) open() (last uint64, err error) {
	if err := os.MkdirAll(f.folder, 0o700); err != nil {
		return 0, fmt.Errorf("make folder: %w", err)
	}
	if f.lock, err = os.Open(f.folder); err != nil {
		return 0, fmt.Errorf("open folder: %w", err)
	}
	if err := lockFolder(f.lock); err != nil {
		return 0, errors.Join(fmt.Errorf("another export writes to %s: %w", f.folder, err), f.lock.Close())
	}
	entries, err := os.ReadDir(f.folder)
	for _, e := range entries {
		last = max(last, f.lastOf(e.Name()))
	}
	return last, err
}

// lastOf returns the last offset in the file of that name; 0: not a file of the stream.
func (f *exportFiles) lastOf(name string) uint64 {
	offsets, ok := strings.CutPrefix(name, f.prefix()+"-")
	offsets, isOurs := strings.CutSuffix(offsets, f.suffix)
	var first, last uint64
	if n, _ := fmt.Sscanf(offsets, "%d-%d", &first, &last); !ok || !isOurs || n != 2 || f.name(first, last) != name {
		return 0
	}
	return last
}

// prefix returns the stream's name, escaped for file names.
func (f *exportFiles) prefix() string {
	return strings.NewReplacer("%", "%25", "/", "%2F", "\x00", "%00").Replace(f.stream)
}

func (f *exportFiles) name(first, last uint64) string {
	return fmt.Sprintf("%s-%012d-%012d%s", f.prefix(), first, last, f.suffix)
}

func (f *exportFiles) path(name string) string { return filepath.Join(f.folder, name) }

func (f *exportFiles) unfinished() string { return f.path(f.prefix() + f.suffix + ".tmp") }

// write adds the line of an event.
func (f *exportFiles) write(offset uint64, line []byte) (err error) {
	if f.file == nil {
		if f.file, err = os.Create(f.unfinished()); err != nil { // overwrites the file of an interrupted export
			return fmt.Errorf("create file: %w", err)
		}
		f.buffer, f.first, f.size = bufio.NewWriterSize(f.file, 256<<10), offset, 0
	}
	f.last = offset
	f.size += int64(len(line))
	f.written += int64(len(line))
	if _, err := f.buffer.Write(line); err != nil {
		return fmt.Errorf("write %s: %w", f.unfinished(), err)
	}
	if f.size >= f.roll {
		return f.finish()
	}
	return nil
}

// finish syncs the file and gives it its final name.
func (f *exportFiles) finish() error {
	if f.file == nil {
		return nil
	}
	err := errors.Join(f.buffer.Flush(), f.file.Sync(), f.file.Close())
	f.file = nil
	name := f.name(f.first, f.last)
	if err == nil {
		err = os.Rename(f.unfinished(), f.path(name))
	}
	if err == nil {
		err = f.lock.Sync()
	}
	if err != nil {
		return fmt.Errorf("finish %s: %w", name, err)
	}
	f.names = append(f.names, name)
	return nil
}

// close unlocks the folder. An unfinished file keeps its temporary name.
func (f *exportFiles) close() {
	if f.file != nil {
		_ = f.file.Close()
	}
	_ = f.lock.Close()
}
