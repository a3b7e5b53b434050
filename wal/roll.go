package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// rollIfLarge seals the newest segment once it has its size and begins another. Lack of space is no
// error: the newest grows on until there is some.
func (l *Log) rollIfLarge() error {
	active := l.active()
	size := active.disk()
	if size < l.opts.SegmentSize {
		return nil
	}
	next, err := l.createSegment(active.seq + 1)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("begin segment: %w", err)
	}
	l.mu.Lock()
	l.segments = append(l.segments, next)
	l.sealed += size
	l.mu.Unlock()
	return active.seal()
}

// seal closes the segment for writing; a reader opens it again.
func (s *segment) seal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = true
	return s.closeLocked()
}

// createSegment makes a segment that holds the log's state and no event. It gets its name once it is
// whole and synced, so that a segment that a crash left half made is never taken for one.
func (l *Log) createSegment(seq uint64) (*segment, error) {
	path := filepath.Join(l.dir, segmentName(seq))
	unfinished := path + unfinishedSuffix
	db, err := openWritable(unfinished, l.opts.SegmentSize)
	if err != nil {
		return nil, errors.Join(err, removeIfThere(unfinished))
	}
	err = db.Update(func(tx *bolt.Tx) error {
		if err := l.writeMeta(tx, seq); err != nil {
			return err
		}
		return l.writeState(tx)
	})
	if err == nil {
		if err = os.Rename(unfinished, path); err == nil {
			err = syncDir(l.dir)
		}
	}
	if err != nil {
		return nil, errors.Join(err, db.Close(), removeIfThere(unfinished))
	}
	return &segment{seq: seq, path: path, db: db, spans: make(map[string]span)}, nil
}

func (l *Log) writeMeta(tx *bolt.Tx, seq uint64) error {
	meta, err := tx.CreateBucket(bucketMeta)
	if err != nil {
		return fmt.Errorf("create meta: %w", err)
	}
	return errors.Join(
		meta.Put(keyVersion, []byte{segmentVersion}),
		meta.Put(keyLog, []byte(l.id)),
		meta.Put(keySegment, offsetKey(seq)),
	)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// truncate unlinks every sealed segment with whose events all destinations are done, as far as
// the disk knows. Not only the oldest: a destination that is stuck holds its own events, not what
// other streams have appended after them.
func (l *Log) truncate() {
	for _, s := range l.settledSegments() {
		size := s.disk()
		if err := s.remove(os.Remove); err != nil {
			l.opts.Logger.Warn("a settled segment could not be unlinked", "segment", s.path, "error", err)
			continue
		}
		l.mu.Lock()
		l.sealed -= size
		l.mu.Unlock()
		if err := syncDir(l.dir); err != nil {
			l.opts.Logger.Warn("unlink was not synced", "error", err)
		}
		l.opts.Logger.Debug("segment truncated", "segment", filepath.Base(s.path))
	}
}

// settledSegments takes the segments that nobody needs any more out of the log.
func (l *Log) settledSegments() (settled []*segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := len(l.segments) - 1
	kept := l.segments[:0]
	for i, s := range l.segments {
		if i < last && l.settledLocked(s) {
			settled = append(settled, s)
			continue
		}
		kept = append(kept, s)
	}
	clear(l.segments[len(kept):])
	l.segments = kept
	return settled
}

func (l *Log) settledLocked(s *segment) bool {
	for name, sp := range s.spans {
		if l.streams[name].low() < sp.next {
			return false
		}
	}
	return true
}

// low returns the first offset that some destination still needs after a crash. A stream without a
// destination keeps everything.
func (s *stream) low() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	low := s.next
	if len(s.places) == 0 {
		low = 0
	}
	for _, p := range s.places {
		p.mu.Lock()
		low = min(low, p.low)
		p.mu.Unlock()
	}
	return low
}
