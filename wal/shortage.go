package wal

import (
	"errors"
	"os"
	"sync"

	"github.com/standpipe/standpipe/wal/internal/disk"
)

// A shortage of space, descriptors or memory that a call meets before a byte of a commit is written only refuses
// that commit: the content of the log is unchanged, and the next attempt may succeed. After the first write of a commit
// every error but one of a full disk ends the log.

// spareFiles are file descriptors that the log keeps aside: it must be able to roll and to read when clients have used up all
// that the process may have.
type spareFiles struct {
	mu    sync.Mutex
	files []*os.File
}

// spares is how many: for the next segment, and for a sealed one that is mapped.
const spares = 2

// fill opens the missing descriptors, as many as it can get.
func (s *spareFiles) fill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.files) < spares {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return
		}
		s.files = append(s.files, f)
	}
}

func (s *spareFiles) release() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		err = errors.Join(err, f.Close())
	}
	s.files = nil
	return err
}

// openFiles bounds the files and maps that the log holds open, and keeps spare descriptors.
type openFiles struct {
	mapped shelf
	spare  spareFiles
}

// retry calls open, which opens or maps a file and undoes its changes when it fails. When open finds no descriptor, retry
// releases the spare ones and calls open again; when open finds no memory, retry closes the maps without a reader first.
func (f *openFiles) retry(open func() error) error {
	err := disk.Uninterrupted(open)
	if disk.NoDescriptor(err) {
		if err = f.spare.release(); err == nil {
			err = disk.Uninterrupted(open)
		}
	}
	if disk.NoMemory(err) && f.mapped.clear() {
		err = disk.Uninterrupted(open)
	}
	f.spare.fill()
	return err
}
