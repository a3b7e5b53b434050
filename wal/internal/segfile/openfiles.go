package segfile

import (
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/standpipe/standpipe/wal/internal/disk"
)

// A shortage of space, descriptors or memory before the first write of a commit rejects that commit only: the content
// of the log is unchanged, and the next attempt may succeed. After the first write, every error except a full disk ends
// the log.

// spareFiles holds spare file descriptors, so that the log can roll and read after clients have used up the descriptors
// of the process.
type spareFiles struct {
	mu    sync.Mutex
	files []*os.File
}

// spares is the number of spare descriptors: one for the next segment, and one for a sealed segment that is mapped.
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

// Files bounds the files and maps that the log holds open, keeps spare descriptors, and counts written bytes. The zero value is
// ready.
type Files struct {
	mapped  mappedSegments
	spare   spareFiles
	written atomic.Int64
}

// Written returns the number of bytes that Updates and copies have written.
func (f *Files) Written() int64 { return f.written.Load() }

// Wrote adds to Written.
func (f *Files) Wrote(bytes int64) { f.written.Add(bytes) }

// Retry calls open, which opens or maps a file and undoes its changes when it fails. When open finds no descriptor,
// Retry releases the spare ones and calls open again; when open finds no memory, Retry closes the maps without a reader
// first.
func (f *Files) Retry(open func() error) error {
	err := disk.Uninterrupted(open)
	if disk.NoDescriptor(err) {
		if err = f.spare.release(); err == nil {
			err = disk.Uninterrupted(open)
		}
	}
	if disk.NoMemory(err) && f.mapped.evictIdle() {
		err = disk.Uninterrupted(open)
	}
	f.spare.fill()
	return err
}

// KeepSpares opens the spare descriptors that are missing, as many as it can get.
func (f *Files) KeepSpares() { f.spare.fill() }

// CloseSpares closes the spare descriptors.
func (f *Files) CloseSpares() error { return f.spare.release() }

// mappedSegments keeps a bounded number of sealed segments mapped.
type mappedSegments struct {
	mu   sync.Mutex
	open []*File // the last opened segment comes last
}

// add adds s, which was just opened. If there are too many, it evicts the segments that were opened first. The caller
// holds no segment's mutex.
func (m *mappedSegments) add(s *File) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = append(slices.DeleteFunc(m.open, func(o *File) bool { return o == s }), s)
	kept, bytes := 0, int64(0)
	for _, o := range slices.Backward(m.open) {
		if bytes += o.mappedBytes.Load(); kept > 0 && (bytes > mostMappedBytes() || kept == mostMaps) {
			break
		}
		kept++
	}
	closing := m.open[:len(m.open)-kept]
	var err error
	for _, o := range closing {
		err = errors.Join(err, o.evict())
	}
	m.open = slices.Delete(m.open, 0, len(closing))
	return err
}

// evictIdle evicts all segments without a reader, and reports whether there was one.
func (m *mappedSegments) evictIdle() (some bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = slices.DeleteFunc(m.open, func(s *File) bool {
		evicted := s.evictIfIdle()
		some = some || evicted
		return evicted
	})
	return some
}

// mostMaps bounds the number of maps that are kept. A process may have about 65,000. See also mostMappedBytes.
const mostMaps = 64

// evictIfIdle is evict, but it does not wait for a reader.
func (f *File) evictIfIdle() bool {
	if !f.mu.TryLock() {
		return false
	}
	defer f.mu.Unlock()
	return f.file == nil && f.pages != nil && f.closeLocked() == nil
}

// evict closes the segment if it is sealed.
func (f *File) evict() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file != nil {
		return nil
	}
	return f.closeLocked()
}
