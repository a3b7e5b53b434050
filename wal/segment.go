package wal

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// segment is one bbolt file of the log.
type segmentFile struct {
	seq  uint64
	path string

	mu     sync.RWMutex   // guards db and pages: held for reading during a view
	db     *bolt.DB       // of the newest segment; nil: it is sealed
	pages  *boltpage.File // of a sealed one; nil while nobody reads it
	gone   bool           // truncated or set aside
	closed bool           // the log is closed

	files  *openFiles
	logger hclog.Logger
	size   int64 // bytes on the disk once it is sealed

	// Of the newest segment, the committer's: the file, how far bbolt's pages go, how far blocks are
	// allocated, and whether the file system can't do that.
	file        *os.File
	mapped      int64          // how far it may grow before bbolt maps it anew
	remaps      bool           // bbolt will map the file anew
	base        atomic.Uintptr // where bbolt's map of the file begins
	used        atomic.Int64
	allocated   atomic.Int64
	unallocated atomic.Bool
	length      int64           // of the file, when it is unallocated
	stuck       bool            // bbolt panicked and holds its locks
	bare        bool            // it has no state yet: the first transaction brings it; written under Log.mu
	last        uint64          // the number of the last block
	end         segment.LeafEnd // where the blocks end

	// index is in memory for the newest segment, and for one that has none in its file; otherwise nil.
	index atomic.Pointer[segment.BlockIndex]

	summed bool // the state's entries have checksums

	// spans belongs to Log.mu once the segment is part of the log.
	spans map[string]segment.Span
	bad   map[string][]Run // what can't be read of a stream; belongs to Log.mu

	mappedBytes atomic.Int64 // of the last map of the sealed segment

	failing atomic.Pointer[failingRead] // nil: all that was read could be

	swaps  atomic.Int64 // how often it was rewritten: what was found in it before counts no longer
	gapped bool         // it was rewritten without some events; belongs to Log.mu
	looked uint64       // Log.settledBytes when it was last not worth rewriting; the rewriter's
	share  float64      // how much of it seemed to be needed at the last look, 0: none; the rewriter's
	kept   bool         // it can't be rewritten; the rewriter's

	needed neededBy // when it was last looked at for truncation; the truncator's
}

// openWritable opens the newest segment. The memory map is larger than the file will be, so that
// a commit never waits for readers in order to map it anew.
func (s *segmentFile) openWritable(path string, segmentSize int64) (err error) {
	_, length, _ := disk.Sizes(path)
	var o bolt.Options
	o.InitialMmapSize, s.mapped = mapNewest(segmentSize, length)
	if s.db, s.file, err = segment.OpenBoltFile(path, &o); err != nil {
		return err
	}
	s.allocated.Store(0)
	s.base.Store(s.db.Info().Data)
	return s.measure()
}

// measure notes how far the pages go.
func (s *segmentFile) measure() error {
	return segment.ViewBolt(s.db, s.path, s.base.Load(), func(tx *bolt.Tx) error {
		s.used.Store(tx.Size())
		return nil
	})
}

// view runs f on the segment as its last transaction left it, opening it when it is closed. Nothing slow
// may happen in f, and nothing that the reader gives may leave it.
func (s *segmentFile) view(f func(r segment.Reader) error) (err error) {
	if err := s.open(); err != nil {
		return err
	}
	defer s.mu.RUnlock()
	if s.db != nil {
		return segment.ViewBolt(s.db, s.path, s.base.Load(), func(tx *bolt.Tx) error { return f(segment.BoltReader{Tx: tx}) })
	}
	return segment.ViewPages(s.pages, f)
}

// open returns with s.mu held for reading and s.db or s.pages usable, or with an error.
func (s *segmentFile) open() error {
	for {
		s.mu.RLock()
		if gone, closed := s.gone, s.closed; gone || closed {
			s.mu.RUnlock()
			if closed {
				return ErrClosed
			}
			return errGone
		}
		if s.db != nil || s.pages != nil {
			return nil
		}
		s.mu.RUnlock()
		if err := s.files.retry(s.reopen); err != nil {
			return err
		}
		if err := s.files.mapped.put(s); err != nil {
			return err
		}
	}
}

func (s *segmentFile) reopen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db != nil || s.pages != nil || s.gone || s.closed {
		return nil
	}
	pages, err := segment.OpenMapped(s.path)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	s.pages = pages
	s.mappedBytes.Store(pages.MappedLength())
	return nil
}

// shelf keeps a bounded number of sealed segments mapped.
type shelf struct {
	mu   sync.Mutex
	open []*segmentFile // the one that was opened last comes last
}

// shelvedMaps bounds the number of maps that are kept, of which a process may have about 65,000; see also shelvedBytes.
const shelvedMaps = 64

// put notes that s has been opened, and closes those that were opened longest ago when there are too many. The
// caller holds no segment's lock.
func (sh *shelf) put(s *segmentFile) error {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.open = append(slices.DeleteFunc(sh.open, func(o *segmentFile) bool { return o == s }), s)
	kept, bytes := 0, int64(0)
	for _, o := range slices.Backward(sh.open) {
		if bytes += o.mappedBytes.Load(); kept > 0 && (bytes > shelvedBytes() || kept == shelvedMaps) {
			break
		}
		kept++
	}
	closing := sh.open[:len(sh.open)-kept]
	var err error
	for _, o := range closing {
		err = errors.Join(err, o.rest())
	}
	sh.open = slices.Delete(sh.open, 0, len(closing))
	return err
}

// clear closes all segments without a reader, and reports whether there was one.
func (sh *shelf) clear() (some bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.open = slices.DeleteFunc(sh.open, func(s *segmentFile) bool {
		rests := s.restIfIdle()
		some = some || rests
		return rests
	})
	return some
}

// restIfIdle is rest that waits for no reader.
func (s *segmentFile) restIfIdle() bool {
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	return s.file == nil && s.pages != nil && s.closeLocked() == nil
}

// rest closes the segment if it is a sealed one.
func (s *segmentFile) rest() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		return nil
	}
	return s.closeLocked()
}

// errGone: the segment was truncated between being found and being read.
var errGone = errors.New("wal: the segment is gone")

// close lets go of the file; a sealed segment opens again when it is read.
func (s *segmentFile) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closeLocked()
}

// closeForGood is close after which nothing can be read.
func (s *segmentFile) closeForGood() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.closeLocked()
}

func (s *segmentFile) closeLocked() error {
	var err error
	if s.pages != nil {
		err = s.pages.Close()
		s.pages = nil
	}
	if s.db == nil || s.stuck {
		return err
	}
	err = errors.Join(err, s.db.Close())
	s.db, s.file = nil, nil
	return err
}

// remove closes the segment for ever and takes its file away by way of unlink.
func (s *segmentFile) remove(unlink func(path string) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	return errors.Join(s.closeLocked(), unlink(s.path))
}

// disk returns the bytes that the segment's file occupies (its blocks, not its length).
func (s *segmentFile) disk() int64 {
	disk, _, _ := disk.Sizes(s.path)
	return disk
}

// indexSize returns what the index will take once the segment is sealed; 0 when it is.
func (s *segmentFile) indexSize() int64 {
	if x := s.index.Load(); x != nil {
		return x.Size.Load()
	}
	return 0
}

// ReadMeta checks that the file is the segment that its name tells, and notes whether it is gapped and summed.
func (s *segmentFile) readMeta(r segment.Reader) (segment.Meta, error) {
	m, err := segment.ReadMeta(r, s.path, s.seq)
	if err == nil {
		s.gapped, s.summed = m.Gapped, m.Summed
	}
	return m, err
}
