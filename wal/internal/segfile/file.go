package segfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/digest"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/lastcommit"
	"github.com/standpipe/standpipe/wal/internal/segment"
	"github.com/standpipe/standpipe/wal/internal/small"
)

// File is the file of one segment. See the package comment for the goroutine that may call each method.
type File struct {
	Seq  uint64 // the segment's number
	Path string // changed by SetAside only

	files  *Files
	logger hclog.Logger

	mu     sync.RWMutex   // guards db and pages: held for reading during a view
	db     *bolt.DB       // of the newest segment; nil: it is sealed
	pages  *boltpage.File // of a sealed segment; nil while it is closed
	gone   bool           // removed, or set aside
	closed bool           // by CloseForGood

	// Of the newest segment, owned by the writer. Any goroutine may read the atomic ones.
	allocation
	mapped int64          // the length up to which bbolt need not map the file again
	remaps bool           // bbolt will map the file again
	base   atomic.Uintptr // where bbolt's map of the file begins
	stuck  bool           // bbolt panicked and holds its locks

	blocks
	digests
	smalls

	found *lastcommit.Found // from Check until Secure
	torn  uint64            // the transaction of a commit that readers ignore, until Secure; 0: there is none

	mappedBytes atomic.Int64 // of the last map of the sealed segment
	walked      walked
	replaced    atomic.Int64 // number of calls of Replace: readers look up the segment again after one

	failing atomic.Pointer[failingRead] // nil: the last read succeeded
}

// ErrGone is returned after Remove or SetAside: a reader looks up the segment again.
var ErrGone = errors.New("wal: the segment is gone")

// New returns the segment with that number in dir. It opens nothing.
func New(dir string, seq uint64, files *Files, logger hclog.Logger) *File {
	f := &File{Seq: seq, Path: filepath.Join(dir, segment.FileName(seq)), files: files, logger: logger}
	f.stored = sums{digest.New(seq), digest.New(seq)}
	return f
}

// Create makes the file of a new segment and opens it for writing. fill writes its content with Update. The file gets
// its name once it is whole and synced, and then syncDir syncs the folder: so Open never takes a half-made segment for
// a segment.
func (f *File) Create(segmentSize int64, fill, syncDir func() error) error {
	unfinished := f.Path + segment.UnfinishedSuffix
	f.summed, f.digested, f.keepsRecent, f.creating = true, true, true, true
	f.index.Store(segment.NewIndex())
	err := disk.RemoveIfExists(unfinished)
	if err == nil {
		if err = f.openWritable(unfinished, segmentSize); err != nil {
			err = fmt.Errorf("create %s: %w", unfinished, err)
		}
	}
	if err == nil {
		err = fill()
	}
	if err == nil {
		err = os.Rename(unfinished, f.Path)
	}
	f.creating = false
	if err != nil {
		return errors.Join(err, f.Close(), disk.RemoveIfExists(unfinished))
	}
	if err := syncDir(); err != nil {
		// Never a shortage, not even ENOSPC: after a crash the segment may exist, and be older than stored events.
		return errors.Join(fmt.Errorf("new segment: %v", err), f.Close()) //nolint:errorlint
	}
	return nil
}

// OpenEmpty opens a segment without blocks for writing.
func (f *File) OpenEmpty(segmentSize int64) error {
	f.index.Store(segment.NewIndex())
	return f.openWritable(f.Path, segmentSize)
}

// OpenWritable opens the segment for writing after Check, or for writing again.
func (f *File) OpenWritable(segmentSize int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.closeLocked(), f.openWritable(f.Path, segmentSize))
}

// openWritable opens the newest segment. The memory map is larger than the file will be, so that a commit never waits
// for readers in order to map it again.
func (f *File) openWritable(path string, segmentSize int64) (err error) {
	_, length, _ := disk.Sizes(path)
	var o bolt.Options
	o.InitialMmapSize, f.mapped = mapNewest(segmentSize, length)
	if f.db, f.file, err = segment.OpenBoltFile(path, &o); err != nil {
		return err
	}
	disk.KeepAccessTime(f.file)
	f.allocated.Store(0)
	f.place()
	f.unsure = true
	f.base.Store(f.db.Info().Data)
	return f.measure()
}

// measure updates the end of the pages and the place of small commits after a transaction.
func (f *File) measure() error {
	return segment.ViewBolt(f.db, f.Path, f.base.Load(), func(tx *bolt.Tx) error {
		f.used.Store(tx.Size())
		f.space, f.tx = small.InTx(tx), uint64(tx.ID())
		return nil
	})
}

// View runs read on the segment as its last transaction left it, and opens the segment first if it is closed. read must
// not be slow, and no data of the reader may be used after read returns.
func (f *File) View(read func(r segment.Reader) error) (err error) {
	if err := f.open(); err != nil {
		return err
	}
	defer f.mu.RUnlock()
	if f.db != nil {
		pending := f.pending() // before the transaction begins: a later one may store them
		return segment.ViewBolt(f.db, f.Path, f.base.Load(), func(tx *bolt.Tx) error {
			defer f.walked.release(f.db.Info().Data, tx.Size()) // bbolt does not map the file again before tx has ended
			return read(segment.BoltReader{Tx: tx, Pending: pending})
		})
	}
	defer f.walked.release(f.pages.Base(), f.pages.MappedLength())
	return segment.ViewPages(f.pages, read)
}

// keptMapped bounds the bytes of a segment that walks leave in the memory of the process. Without a bound, a backlog would
// count there as far as it was read: a container counts the pages of maps like others.
const keptMapped = 4 << 20

// walked are the bytes that walks have read since pages were last released.
type walked struct{ atomic.Int64 }

// release releases the pages of the map at base, of size bytes, once walks have read enough of them. The map must not go away
// meanwhile.
func (w *walked) release(base uintptr, size int64) {
	if w.Load() >= keptMapped {
		w.Store(0)
		disk.Release(base, size)
	}
}

// open returns with f.mu held for reading and f.db or f.pages usable, or with an error.
func (f *File) open() error {
	for {
		f.mu.RLock()
		if gone, closed := f.gone, f.closed; gone || closed {
			f.mu.RUnlock()
			if closed {
				return segment.ErrClosed
			}
			return ErrGone
		}
		if f.db != nil || f.pages != nil {
			return nil
		}
		f.mu.RUnlock()
		if err := f.files.Retry(f.reopen); err != nil {
			return err
		}
		if err := f.files.mapped.add(f); err != nil {
			return err
		}
	}
}

func (f *File) reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.db != nil || f.pages != nil || f.gone || f.closed {
		return nil
	}
	pages, err := segment.OpenMapped(f.Path)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	if f.torn > 0 {
		pages.Before(f.torn)
	}
	f.pages = pages
	f.mappedBytes.Store(pages.MappedLength())
	return nil
}

// Close closes the file. A reader opens a sealed segment again.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closeLocked()
}

// CloseForGood closes the file. Later reads fail with segment.ErrClosed.
func (f *File) CloseForGood() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return f.closeLocked()
}

// Retire closes a sealed segment for writing. It waits for its readers; the next reader opens the file again.
func (f *File) Retire() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil { // it was replaced meanwhile
		return nil
	}
	return f.closeLocked()
}

func (f *File) closeLocked() error {
	var err error
	if f.pages != nil {
		err = f.pages.Close()
		f.pages = nil
	}
	if f.db == nil || f.stuck {
		return err
	}
	err = errors.Join(err, f.db.Close())
	f.db, f.file = nil, nil
	return err
}

// Remove closes the segment for ever, and removes its file with unlink.
func (f *File) Remove(unlink func(path string) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = true
	return errors.Join(f.closeLocked(), unlink(f.Path))
}

// SetAside closes a damaged segment for ever and renames its file, which is kept for examination. Path is the new name.
func (f *File) SetAside() error {
	var to string
	err := f.Remove(func(path string) (err error) {
		to, err = segment.SetAside(path)
		return err
	})
	if err == nil {
		f.Path = to
	}
	return err
}

// Replace renames the copy at path over the file of a sealed segment. ErrGone: the segment is removed or closed.
func (f *File) Replace(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone || f.closed {
		return ErrGone
	}
	if err := f.closeLocked(); err != nil {
		return err
	}
	f.replaced.Add(1)
	if err := os.Rename(path, f.Path); err != nil {
		return err
	}
	f.index.Store(nil) // a reader may have rebuilt it from the old file meanwhile
	return nil
}

// Replaced returns how often the file was replaced. A read that fails while this number changes is repeated.
func (f *File) Replaced() int64 { return f.replaced.Load() }

// Disk returns the bytes that the file occupies (its blocks, not its length).
func (f *File) Disk() int64 {
	disk, _, _ := disk.Sizes(f.Path)
	return disk
}
