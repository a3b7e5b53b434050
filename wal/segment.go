package wal

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// segmentFile is one bbolt file of the log.
type segmentFile struct {
	seq  uint64
	path string

	mu     sync.RWMutex   // guards db and pages: held for reading during a view
	db     *bolt.DB       // of the newest segment; nil: it is sealed
	pages  *boltpage.File // of a sealed segment; nil while it is closed
	gone   bool           // truncated or set aside
	closed bool           // the log is closed

	files  *openFiles
	logger hclog.Logger
	size   int64 // bytes on the disk once it is sealed

	// Of the newest segment, owned by the committer's leader: the file, the end of bbolt's pages, the end of the
	// allocated blocks, and whether the file system cannot allocate.
	file        *os.File
	mapped      int64          // the length up to which bbolt need not map it again
	remaps      bool           // bbolt will map the file again
	base        atomic.Uintptr // where bbolt's map of the file begins
	used        atomic.Int64
	allocated   atomic.Int64
	unallocated atomic.Bool
	length      int64           // of the file, when it is unallocated
	stuck       bool            // bbolt panicked and holds its locks
	bare        bool            // it has no state yet: the first transaction writes it; written under Log.mu
	last        uint64          // the number of the last block
	end         segment.LeafEnd // where the blocks end

	// index is the index of the newest segment, or a rebuilt one. It is nil if the file has the index.
	index atomic.Pointer[segment.BlockIndex]

	summed bool // the state's entries have checksums

	// spans is guarded by Log.mu once the segment is part of the log.
	spans map[string]segment.Span
	bad   map[string][]Run // the unreadable parts of each stream; guarded by Log.mu

	mappedBytes atomic.Int64 // of the last map of the sealed segment

	failing atomic.Pointer[failingRead] // nil: the last read succeeded

	swaps  atomic.Int64 // number of compactions: readers look up the segment again after one
	gapped bool         // it was compacted, and lacks some events; guarded by Log.mu

	// Owned by the compactor.
	looked uint64  // compactor.settledBytes at the last compaction or attempt, plus 1; 0: none yet
	share  float64 // the live share at the last look; 0: none yet
	kept   bool    // a compaction failed; no other is tried

	needed neededBy // at the truncator's last look; owned by the truncator
}

// openWritable opens the newest segment. The memory map is larger than the file will be, so that a commit never waits
// for readers in order to map it again.
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

// measure updates used, the end of the pages.
func (s *segmentFile) measure() error {
	return segment.ViewBolt(s.db, s.path, s.base.Load(), func(tx *bolt.Tx) error {
		s.used.Store(tx.Size())
		return nil
	})
}

// view runs f on the segment as its last transaction left it, and opens the segment first if it is closed. f must not
// be slow, and no data of the reader may be used after f returns.
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
		if err := s.files.mapped.add(s); err != nil {
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

// errGone is returned if the segment was unlinked after find returned it, and before it was read.
var errGone = errors.New("wal: the segment is gone")

// close closes the file. A reader opens a sealed segment again.
func (s *segmentFile) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closeLocked()
}

// closeForGood closes the file. Later reads fail.
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

// remove closes the segment for ever, and removes its file with unlink.
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

// indexSize returns the bytes that the index will take in the file; 0 if the segment is sealed.
func (s *segmentFile) indexSize() int64 {
	if x := s.index.Load(); x != nil {
		return x.Size.Load()
	}
	return 0
}

// readMeta checks that the file is the segment of its name, and records whether it is gapped and summed.
func (s *segmentFile) readMeta(r segment.Reader) (segment.Meta, error) {
	m, err := segment.ReadMeta(r, s.path, s.seq)
	if err == nil {
		s.gapped, s.summed = m.Gapped, m.Summed
	}
	return m, err
}
