package wal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"

	bolt "go.etcd.io/bbolt"
)

// A destination that is stuck keeps its own events, and not what others have appended beside them: a
// sealed segment of which little is needed any more is written again without the rest, under the
// same name. That happens beside the committer, one segment at a time, and once half of the room is used.

const (
	// rewriteShare: a segment is rewritten when at most this part of it is needed, so that each
	// rewriting frees three times what it writes.
	rewriteShare = 4
	// rewriteChunk bounds what is held in memory meanwhile.
	rewriteChunk = 4 << 20
)

var errKept = errors.New("wal: the segment is needed as it is")

// rewriteOne rewrites a segment if one is worth it and none is being rewritten. The committer calls it
// after truncating.
func (l *Log) rewriteOne() {
	if !l.rewriting.CompareAndSwap(false, true) {
		return
	}
	seg, from := l.mostlySettled()
	if seg == nil {
		l.rewriting.Store(false)
		return
	}
	l.rewriter.Go(func() {
		defer l.rewriting.Store(false)
		switch err := l.rewrite(seg, from); {
		case err == nil:
			l.opts.Logger.Debug("segment rewritten to what is needed of it", "segment", seg.path)
		case !errors.Is(err, errKept):
			l.opts.Logger.Warn("a segment could not be rewritten", "segment", seg.path, "error", err)
		}
	})
}

// mostlySettled returns the oldest segment that is worth it, and from where on each stream is needed.
func (l *Log) mostlySettled() (*segment, map[string]uint64) {
	room := l.space()
	if room > l.opts.MaxSize/2 {
		return nil, nil // not worth the writing
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments[:len(l.segments)-1] {
		if s.keep || len(s.bad) > 0 || s.index.Load() != nil {
			continue
		}
		from, needed, all := make(map[string]uint64), 0.0, 0.0
		for name, sp := range s.spans {
			low := sp.clamp(l.streams[name].low())
			bytes := float64(sp.after-sp.before) + float64(sp.next-sp.first)*16
			needed += bytes * float64(sp.next-low) / float64(sp.next-sp.first)
			all += bytes
			from[name] = low
		}
		if 0 < needed && needed < all/rewriteShare && int64(needed) < room {
			return s, from
		}
	}
	return nil, nil
}

// rewrite replaces the segment's file by one without the events before from. It gives up when one of
// these is needed again by then, by a destination that is new.
func (l *Log) rewrite(seg *segment, from map[string]uint64) error {
	path := seg.path + unfinishedSuffix
	spans, err := l.copySegment(seg, from, path)
	if err == nil {
		err = l.replace(seg, from, spans, path)
	}
	if err != nil {
		l.mu.Lock()
		seg.keep = true // once is enough to try
		l.mu.Unlock()
		return errors.Join(err, removeIfThere(path))
	}
	return nil
}

// copySegment writes what is needed of the segment to path and syncs it.
func (l *Log) copySegment(seg *segment, from map[string]uint64, path string) (spans map[string]span, err error) {
	db, err := openBolt(path, &bolt.Options{NoSync: true})
	if err != nil {
		return nil, err
	}
	var length int64
	defer func() {
		if err = errors.Join(err, db.Close()); err == nil {
			err = os.Truncate(path, length)
		}
	}()
	for _, bucket := range [][]byte{bucketMeta, bucketState} {
		if err := l.copyBucket(seg, db, bucket, func(_, _ []byte) (bool, error) { return true, nil }); err != nil {
			return nil, err
		}
	}
	copied := newIndex()
	if err := l.copyBlocks(seg, db, from, copied); err != nil {
		return nil, err
	}
	if err := db.Update(func(tx *bolt.Tx) error { return copied.write(tx, seg.seq) }); err != nil {
		return nil, fmt.Errorf("write index: %w", err)
	}
	err = viewBolt(db, path, func(tx *bolt.Tx) error {
		length = tx.Size()
		return nil
	})
	return copied.spans(), errors.Join(err, db.Sync())
}

// copyBlocks copies the blocks that hold what is needed, with their numbers.
func (l *Log) copyBlocks(seg *segment, to *bolt.DB, from map[string]uint64, copied *blockIndex) error {
	return l.copyBucket(seg, to, bucketBlocks, func(k, v []byte) (bool, error) {
		b, fault := peekBlock(seg.seq, k, v)
		if fault != "" {
			return false, errKept // what of it is lost is for its readers to say
		}
		wanted := b.next() > from[b.stream]
		if wanted {
			copied.add(&b)
		}
		return wanted, nil
	})
}

// copyBucket copies the entries of a bucket that are wanted.
func (l *Log) copyBucket(seg *segment, to *bolt.DB, name []byte, wanted func(k, v []byte) (bool, error)) error {
	for next := []byte{}; next != nil; {
		var c bucketChunk
		err := seg.view(func(tx *bolt.Tx) error {
			bucket := tx.Bucket(name)
			if bucket == nil {
				return errKept
			}
			return c.read(bucket.Cursor(), next, wanted)
		})
		if err != nil {
			return err
		}
		if err := c.put(to, name); err != nil {
			return err
		}
		if l.usable() != nil {
			return errKept
		}
		next = c.next
	}
	return nil
}

// bucketChunk is a part of a bucket's entries, copied.
type bucketChunk struct {
	keys, values [][]byte
	next         []byte // where to go on; nil: nowhere
}

func (b *bucketChunk) read(c *bolt.Cursor, from []byte, wanted func(k, v []byte) (bool, error)) error {
	size := 0
	for k, v := c.Seek(from); k != nil; k, v = c.Next() {
		if size > rewriteChunk {
			b.next = bytes.Clone(k)
			return nil
		}
		ok, err := wanted(k, v)
		if err != nil {
			return err
		}
		if ok {
			b.keys, b.values = append(b.keys, bytes.Clone(k)), append(b.values, bytes.Clone(v))
			size += len(k) + len(v)
		}
	}
	return nil
}

func (b *bucketChunk) put(db *bolt.DB, name []byte) error {
	return db.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists(name)
		if err != nil {
			return fmt.Errorf("create bucket: %w", err)
		}
		bucket.FillPercent = 1
		for i := range b.keys {
			if err := bucket.Put(b.keys[i], b.values[i]); err != nil {
				return fmt.Errorf("put: %w", err)
			}
		}
		return nil
	})
}

// replace puts the copy in the segment's place. The spans shrink first: who reads by the old ones may
// meet the new file and looks again.
func (l *Log) replace(seg *segment, from map[string]uint64, spans map[string]span, path string) error {
	if err := l.shrink(seg, from, spans); err != nil {
		return err
	}
	if err := seg.swap(path); err != nil {
		return err
	}
	if err := syncDir(l.dir); err != nil {
		return err
	}
	size := seg.disk()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		if s == seg { // not truncated meanwhile
			l.sealed += size - seg.size
			seg.size = size
		}
	}
	return nil
}

// clamp returns the offset in the span, or at its end, that is nearest.
func (s span) clamp(offset uint64) uint64 { return min(max(offset, s.first), s.next) }

// shrink makes the spans those of the copy, unless something is needed that the copy lacks.
func (l *Log) shrink(seg *segment, from map[string]uint64, spans map[string]span) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held.Load() > 0 || len(seg.bad) > 0 {
		return errKept
	}
	for name, sp := range seg.spans {
		copied, some := spans[name]
		first := sp.next
		if some {
			first = copied.first
		}
		if sp.clamp(l.streams[name].low()) < from[name] || first > max(from[name], sp.first) || some && (copied.next != sp.next || copied.after != sp.after) {
			return errKept
		}
	}
	seg.spans = maps.Clone(spans)
	return nil
}

// swap renames the copy over the segment's file.
func (s *segment) swap(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone || s.closed {
		return errKept
	}
	if err := s.closeLocked(); err != nil {
		return err
	}
	if err := os.Rename(path, s.path); err != nil {
		return err
	}
	s.index.Store(nil) // if somebody patched it meanwhile
	return nil
}
