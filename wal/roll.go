package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// rollIfLarge seals the newest segment once it has its size and begins another. Lack of space is no
// error: the newest grows on until there is some.
func (l *Log) rollIfLarge() error {
	active := l.active()
	if active.used.Load() < l.opts.SegmentSize+l.stateBytes.Load() {
		return nil
	}
	next, err := l.createSegment(active.seq + 1)
	if noSpace(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("begin segment: %w", err)
	}
	return l.seal(active, next)
}

// seal makes next the newest segment. The old one is told that it has a successor, so that Open
// notices when that is missing. This comes after the successor was made and before anything is
// stored in it: whatever a crash leaves, the last segment without the mark is the newest.
func (l *Log) seal(old, next *segment) error {
	if err := old.markSealed(); err != nil {
		return errors.Join(fmt.Errorf("mark segment as sealed: %w", err), next.close())
	}
	if err := old.seal(); err != nil {
		return errors.Join(err, next.close())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments = append(l.segments, next)
	l.sealed += old.size
	return nil
}

// markSealed notes that there is a later segment, and writes the index. Without room for that the mark
// goes without saying, and the index is made from the blocks when the segment is opened again.
func (s *segment) markSealed() error {
	index := s.index.Load()
	err := s.update(func(tx *bolt.Tx) error {
		return errors.Join(tx.Bucket(bucketMeta).Put(keySealed, []byte{1}), index.write(tx, s.seq))
	})
	var ce *commitError
	switch {
	case errors.As(err, &ce) && ce.harmless:
		return nil
	case err != nil:
		return err
	}
	s.index.Store(nil)
	return nil
}

// seal closes the segment for writing and gives back what was allocated ahead; a reader opens it again.
func (s *segment) seal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.closeLocked(); err != nil {
		return fmt.Errorf("close segment: %w", err)
	}
	if err := os.Truncate(s.path, s.used.Load()); err != nil {
		return fmt.Errorf("trim segment: %w", err)
	}
	s.size = s.disk()
	return nil
}

// createSegment makes a segment that holds the log's state and no event. It gets its name once it is
// whole and synced, so that a segment that a crash left half made is never taken for one.
func (l *Log) createSegment(seq uint64) (*segment, error) {
	path := filepath.Join(l.dir, segmentName(seq))
	unfinished := path + unfinishedSuffix
	seg := &segment{seq: seq, path: path, shelf: &l.shelf, spans: make(map[string]span)}
	seg.index.Store(newIndex())
	err := l.fillSegment(seg, unfinished)
	if err == nil {
		err = os.Rename(unfinished, path)
	}
	if err != nil {
		return nil, errors.Join(err, seg.close(), removeIfThere(unfinished))
	}
	if err := syncDir(l.dir); err != nil {
		// Not lack of space, whatever it says: the segment may be there after a crash, and older than what is stored until then.
		return nil, errors.Join(fmt.Errorf("new segment: %v", err), seg.close()) //nolint:errorlint
	}
	return seg, nil
}

func (l *Log) fillSegment(seg *segment, path string) error {
	if err := seg.openWritable(path, l.opts.SegmentSize); err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	err := seg.update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket(bucketBlocks)
		return errors.Join(err, l.writeMeta(tx, seg.seq), l.writeState(tx))
	})
	if err != nil {
		return err
	}
	return l.allocate(seg, 0)
}

func (l *Log) writeMeta(tx *bolt.Tx, seq uint64) error {
	meta, err := tx.CreateBucket(bucketMeta)
	if err != nil {
		return fmt.Errorf("create meta: %w", err)
	}
	return errors.Join(
		meta.Put(keyVersion, []byte{segmentVersion}),
		meta.Put(keyLog, []byte(l.id)),
		meta.Put(keySegment, numberKey(seq)),
		meta.Put(keyBase, numberKey(l.base)),
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
		if err := s.remove(os.Remove); err != nil {
			l.opts.Logger.Warn("a settled segment could not be unlinked", "segment", s.path, "error", err)
			continue
		}
		l.mu.Lock()
		l.sealed -= s.size
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
	if l.held.Load() > 0 {
		return nil // the next checkpoint tries again
	}
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
// destination keeps everything that it need not drop.
func (s *stream) low() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	low := s.next
	if len(s.places) == 0 {
		low = s.floor.Offset()
	}
	for _, p := range s.places {
		p.mu.Lock()
		low = min(low, p.low)
		p.mu.Unlock()
	}
	return low
}
