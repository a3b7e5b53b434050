package wal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// leastFrame is the length of the shortest event in a block: its lane, its length, and an event
// with a key of one byte, no data and a time of one byte.
const leastFrame = 2 + 3 + 2 + 2

// recover reads what the directory holds and leaves the log with a newest segment that is whole.
func (l *Log) recover() error {
	if err := l.clean(); err != nil {
		return err
	}
	seqs, err := listSegments(l.dir)
	if err != nil {
		return err
	}
	var last uint64 // the highest number in use
	var lostNewest int64
	for i, seq := range seqs {
		last = seq
		newest := i == len(seqs)-1
		seg := &segment{seq: seq, path: filepath.Join(l.dir, segmentName(seq)), sealed: true}
		if err := l.load(seg, newest); err == nil {
			l.segments = append(l.segments, seg)
			continue
		} else if !damaged(err) {
			return errors.Join(err, seg.close())
		} else if err := l.quarantine(seg, err); err != nil {
			return err
		}
		if newest {
			lostNewest = fileSize(seg.path)
		}
	}
	if err := l.loadState(); err != nil {
		return err
	}
	if lostNewest > 0 {
		l.skipLost(uint64(lostNewest) / leastFrame)
	}
	return l.resume(max(last, l.highestAside()))
}

// clean removes segments that a crash left half made: they hold no event.
func (l *Log) clean() error {
	left, err := filepath.Glob(filepath.Join(l.dir, "*"+unfinishedSuffix))
	if err != nil {
		return fmt.Errorf("list unfinished segments: %w", err)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove unfinished segment: %w", err)
		}
	}
	return nil
}

// load reads what a segment holds; the newest is checked whole, since it is the one that a crash
// may have met in the middle of a write.
func (l *Log) load(seg *segment, newest bool) error {
	return seg.view(func(tx *bolt.Tx) (err error) {
		id, err := readMeta(tx, seg.path)
		if err != nil {
			return err
		}
		if newest {
			if err := checkSegment(tx, seg.path); err != nil {
				return err
			}
		}
		l.id = id
		seg.spans, err = readSpans(tx, seg.path)
		return err
	})
}

// checkSegment verifies bbolt's pages and every block.
func checkSegment(tx *bolt.Tx, path string) error {
	for err := range tx.Check() {
		return &CorruptError{File: path, Reason: err.Error()}
	}
	if tx.Bucket(bucketState) == nil {
		return &CorruptError{File: path, Reason: "the state is missing"}
	}
	return eachStream(tx, func(stream string, b *bolt.Bucket) error {
		return checkStream(b, path, stream)
	})
}

// checkStream verifies that the blocks follow one another. Their frames are left to whoever reads
// them: a damaged event costs its block, not the segment.
func checkStream(bucket *bolt.Bucket, path, stream string) error {
	var next uint64
	return bucket.ForEach(func(k, v []byte) error {
		b, fault := peekBlock(stream, k, v)
		if fault == "" && next != 0 && b.first != next {
			fault = fmt.Sprintf("the block begins at %d, want %d", b.first, next)
		}
		if fault != "" {
			return &CorruptError{path, stream, b.first, fault}
		}
		next = b.next()
		return nil
	})
}

// damaged tells whether err is about the file's content rather than about reaching it.
func damaged(err error) bool {
	var corrupt *CorruptError
	if errors.As(err, &corrupt) {
		return true
	}
	for _, e := range []error{bolt.ErrInvalid, bolt.ErrChecksum, bolt.ErrVersionMismatch, bolt.ErrInvalidMapping} { //nolint:staticcheck
		if errors.Is(err, e) {
			return true
		}
	}
	return strings.Contains(err.Error(), "file size too small") || strings.Contains(err.Error(), "unexpected EOF")
}

// quarantine renames a segment that can't be read. It is kept for whoever wants to look into it.
func (l *Log) quarantine(seg *segment, reason error) error {
	var to string
	err := seg.remove(func(path string) (err error) {
		to, err = setAside(path)
		return err
	})
	if err != nil {
		return err
	}
	seg.path = to
	l.opts.Logger.Error("a segment can't be read and was set aside", "segment", to, "error", reason)
	return nil
}

func fileSize(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return st.Size()
}

// highestAside returns the highest number among the segments that were set aside, so that none
// of their names is used again.
func (l *Log) highestAside() (highest uint64) {
	aside, _ := filepath.Glob(filepath.Join(l.dir, "*"+segmentSuffix+corruptSuffix+"*")) // the pattern is well formed
	for _, path := range aside {
		name, _, _ := strings.Cut(filepath.Base(path), corruptSuffix)
		if seq, ok := segmentSeq(name); ok {
			highest = max(highest, seq)
		}
	}
	return highest
}

// loadState reads the newest segment's state, and what its blocks say beyond it.
func (l *Log) loadState() error {
	if len(l.segments) == 0 {
		l.id = newID()
		return nil
	}
	newest := l.segments[len(l.segments)-1]
	err := newest.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketState).ForEach(func(k, v []byte) error {
			l.stateBytes.Add(int64(len(k) + len(v) + stateElement))
			if err := l.loadEntry(k, v); err != nil {
				return &CorruptError{File: newest.path, Reason: err.Error()}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	for _, seg := range l.segments {
		for name, sp := range seg.spans {
			s := l.stream(name)
			if sp.next > s.next {
				s.next, s.bytes = sp.next, sp.after
			}
		}
	}
	return nil
}

func (l *Log) loadEntry(k, v []byte) error {
	kind, names, ok := splitStateKey(k)
	if !ok || len(names) == 0 {
		return fmt.Errorf("a state key of %d bytes is malformed", len(k))
	}
	s := l.stream(names[0])
	switch {
	case kind == stateStream:
		d := decoder{b: v}
		s.next, s.bytes = d.number(), d.number()
		return d.err()
	case kind == statePlace && len(names) == 2:
		p := &Place{log: l, stream: s, name: names[1]}
		s.places[p.name] = p
		return p.decode(v)
	case kind == stateProducer && len(names) == 2:
		p, err := decodeProducer(v)
		l.committer.producers[producerKey{names[1], names[0]}] = p
		return err
	}
	return nil // a later release's
}

// skipLost moves every stream's numbering past what a lost newest segment can have held, so that no
// offset is used twice. The gap counts as appended and as dropped.
func (l *Log) skipLost(events uint64) {
	for _, s := range l.streams {
		s.next += events
	}
}

// resume makes the newest segment writable, or begins a new one, and settles what is missing.
func (l *Log) resume(last uint64) error {
	for _, seg := range l.segments {
		seg.size = seg.disk()
		l.sealed += seg.size
	}
	if err := l.openNewest(last); err != nil {
		return err
	}
	return l.reconcileAll()
}

// openNewest appends to the newest segment when that is whole and the last, or begins another.
func (l *Log) openNewest(last uint64) error {
	n := len(l.segments)
	whole := n > 0 && l.segments[n-1].seq == last
	if whole {
		if err := l.unseal(l.segments[n-1]); err != nil {
			return err
		}
		if l.segments[n-1].used.Load() < l.opts.SegmentSize {
			return nil
		}
	}
	seg, err := l.createSegment(last + 1)
	switch {
	case whole && noSpace(err):
		return nil
	case err != nil:
		return fmt.Errorf("begin segment: %w", err)
	case whole:
		return l.seal(l.segments[n-1], seg)
	}
	l.segments = append(l.segments, seg)
	return nil
}

// unseal opens the segment for writing again.
func (l *Log) unseal(s *segment) error {
	if err := s.reopenWritable(l.opts.SegmentSize); err != nil {
		return fmt.Errorf("open newest segment: %w", err)
	}
	l.sealed -= s.size
	if err := l.allocate(s, 0); err != nil && !noSpace(err) {
		return err
	}
	return nil
}

func (s *segment) reopenWritable(segmentSize int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = false
	return errors.Join(s.closeLocked(), s.openWritable(s.path, segmentSize))
}

func newID() string { return rand.Text() }
