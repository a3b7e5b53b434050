package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// roller seals the newest segment and makes the next one. The committer's leader calls its methods, except removeNext.
//
// A roll adds no sync to any append. The commit that fills the newest segment also marks it as sealed and writes its
// index. The next segment exists by then, and its first transaction begins it with the log's state. If a segment is
// larger than estimated after a commit, or full after its first commit, it is sealed at once: Open skips as many
// offsets for a lost segment as one can hold.
type roller struct {
	log *Log

	coming *nextSegment // the next segment, requested but not yet the newest; nil: none is
	queue  *workQueue   // makes and closes segments beside the committer
}

// nextSegment is the segment after the newest, while it is made.
type nextSegment struct {
	ready chan struct{} // closed when it is made, or the attempt failed
	seg   *segmentFile
	err   error
}

// fullSegment returns the length at which a segment is sealed: SegmentSize, or less on a short volume: at most a
// quarter of the bytes that the log has and could have there. It is longer if the state is large.
func (r *roller) fullSegment() int64 {
	size := r.log.opts.SegmentSize
	if r.log.capacity.short.Load() {
		size = min(size, max(r.log.capacity.volume.Load(), MinMaxSize)/4)
	}
	return max(size, size/2+2*r.log.stateBudget.bytes.Load()) // so that a large state is written no more often than events
}

// growth estimates the most bytes by which blocks of that total size make a segment grow.
func (r *roller) growth(size int64) int64 {
	return size + size/16 + min(16<<10, r.log.opts.SegmentSize/16)
}

// successor returns the segment that follows the newest, if the newest is full with used bytes; otherwise nil. The next
// segment is requested once the newest has begun and is half full, or the volume is short. During a shortage successor
// returns nil, and the newest segment grows. It also grows while there is no room for the segment after the next.
func (r *roller) successor(active *segmentFile, used int64) (*segmentFile, error) {
	full := r.fullSegment()
	if active.bare || used < full/2 && !r.log.capacity.short.Load() {
		return nil, nil
	}
	if r.coming == nil {
		if max(used, active.allocated.Load())+r.log.capacity.reserve(active) > r.log.capacity.limit() {
			return nil, nil
		}
		r.coming = r.makeReady(active.seq + 1)
	}
	if used < full || used+active.sealRoom()+r.log.capacity.checkpointRoom()+r.log.capacity.beginRoom() > r.log.capacity.limit() {
		return nil, nil
	}
	seg, err := r.readyNext(r.log.capacity.checkpointRoom() + sealPages)
	if disk.Shortage(err) {
		return nil, nil
	}
	return seg, err
}

// readyNext waits for the requested segment. It allocates the bytes that its first transaction takes, and more bytes.
func (r *roller) readyNext(more int64) (*segmentFile, error) {
	<-r.coming.ready
	seg, err := r.coming.seg, r.coming.err
	if err != nil {
		r.coming = nil
		return nil, err
	}
	if want := r.log.capacity.beginRoom() + more; want > max(seg.allocated.Load(), seg.length) {
		err = seg.allocate(want)
		r.log.mu.Lock()
		seg.size = seg.disk()
		r.log.mu.Unlock()
	}
	return seg, err
}

// makeReady requests the segment: the work queue makes it beside the committer.
func (r *roller) makeReady(seq uint64) *nextSegment {
	n := &nextSegment{ready: make(chan struct{})}
	r.queue.add(func() {
		defer close(n.ready)
		n.err = r.log.files.retry(func() (err error) {
			n.seg, err = r.createSegment(seq, func(*bolt.Tx) error { return nil })
			return err
		})
		if n.err != nil {
			n.err = fmt.Errorf("make the next segment ready: %w", n.err)
			return
		}
		n.seg.bare = true
		r.log.mu.Lock()
		defer r.log.mu.Unlock()
		n.seg.size = n.seg.disk()
		r.log.segments.next = n.seg
	})
	return n
}

// removeNext removes the next segment when the log closes: the newest is not sealed. After a failure it is unknown
// whether the newest is sealed, so the next segment is closed and stays.
func (r *roller) removeNext() {
	if r.log.segments.next == nil {
		return
	}
	if r.log.Failed() != nil {
		if err := r.log.segments.next.closeForGood(); err != nil {
			r.log.opts.Logger.Warn("the segment that was made ready could not be closed", "segment", r.log.segments.next.path, "error", err)
		}
		return
	}
	if err := errors.Join(r.log.segments.next.remove(os.Remove), r.log.lock.sync()); err != nil {
		r.log.opts.Logger.Warn("the segment that was made ready could not be removed", "segment", r.log.segments.next.path, "error", err)
	}
	r.log.segments.next = nil
}

// sealIfLarge seals the newest segment if it is full, and the commit that filled it did not seal it.
func (r *roller) sealIfLarge() error {
	active := r.log.segments.active()
	used := active.used.Load()
	if used < r.fullSegment() {
		return nil
	}
	next, err := r.successor(active, used)
	if next == nil || err != nil {
		return err
	}
	_, err = r.seal(active, next) // without space, a later call seals it
	return err
}

// seal seals the newest segment with a transaction of its own, and makes next the newest. sealed is false if there was
// no space for that.
func (r *roller) seal(active, next *segmentFile) (sealed bool, err error) {
	active.limitTo(r.log.capacity.limit(), active.sealRoom())
	err = active.update(func(tx *bolt.Tx) error { return active.writeSeal(tx, nil) })
	var ce *commitError
	if errors.As(err, &ce) && ce.harmless {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("seal segment: %w", err)
	}
	r.roll(active, next)
	return true, nil
}

// writeSeal marks the segment as sealed within the group's transaction, and writes its index, with the group's blocks.
func (s *segmentFile) writeSeal(tx *bolt.Tx, blocks [][]byte) error {
	x, number := s.index.Load().Clone(), s.last
	for _, value := range blocks {
		number++
		x.AddValue(value, number)
	}
	return errors.Join(tx.Bucket(segment.BucketMeta).Put(segment.KeySealed, []byte{1}), x.Write(tx, s.seq))
}

// sealPages estimates the bytes that the bucket of the index takes beside the index.
const sealPages = 16 << 10

// roll makes next the newest segment, after the old one was sealed. It frees the bytes that were allocated ahead in the
// old one. The work queue closes it, since that waits for its readers.
func (r *roller) roll(old, next *segmentFile) {
	err := disk.Uninterrupted(func() error { return disk.Trim(old.file, old.used.Load()) })
	switch {
	case disk.Shortage(err): // the bytes stay allocated, and are counted
		r.log.opts.Logger.Warn("a sealed segment keeps its preallocated blocks", "segment", old.path, "error", err)
	case err != nil:
		r.log.fail(fmt.Errorf("trim segment: %w", err))
	}
	old.index.Store(nil)
	r.log.mu.Lock()
	old.size = max(old.disk(), old.used.Load()) // blocks may be counted late
	r.log.segments.all = append(r.log.segments.all, next)
	r.log.segments.sealed += old.size
	r.log.segments.next = nil
	r.log.mu.Unlock()
	r.coming = nil
	r.queue.add(func() {
		if err := old.retire(); err != nil && !disk.Shortage(err) {
			r.log.fail(fmt.Errorf("close segment: %w", err))
		}
		r.log.files.spare.fill()
	})
}

// retire closes the segment for writing. The next reader opens it again.
func (s *segmentFile) retire() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil { // it was compacted meanwhile
		return nil
	}
	return s.closeLocked()
}

// createSegment makes a segment with the content of fill. The file gets its name once it is whole and synced, so Open
// never takes a half-made segment for a segment.
func (r *roller) createSegment(seq uint64, fill func(tx *bolt.Tx) error) (*segmentFile, error) {
	path := filepath.Join(r.log.dir, segment.FileName(seq))
	unfinished := path + segment.UnfinishedSuffix
	seg := &segmentFile{seq: seq, path: path, files: &r.log.files, logger: r.log.opts.Logger, summed: true, spans: make(map[string]segment.Span)}
	seg.index.Store(segment.NewIndex())
	err := disk.RemoveIfExists(unfinished)
	if err == nil {
		err = r.fillSegment(seg, unfinished, fill)
	}
	if err == nil {
		err = os.Rename(unfinished, path)
	}
	if err != nil {
		return nil, errors.Join(err, seg.close(), disk.RemoveIfExists(unfinished))
	}
	if err := r.log.lock.sync(); err != nil {
		// Never a shortage, not even ENOSPC: after a crash the segment may exist, and be older than stored events.
		return nil, errors.Join(fmt.Errorf("new segment: %v", err), seg.close()) //nolint:errorlint
	}
	return seg, nil
}

func (r *roller) fillSegment(seg *segmentFile, path string, fill func(tx *bolt.Tx) error) error {
	if err := seg.openWritable(path, r.log.opts.SegmentSize); err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	if err := disk.Lengthen(seg.file, emptySegment+2*r.log.stateBudget.bytes.Load()); err != nil {
		return fmt.Errorf("lengthen %s: %w", path, err)
	}
	err := seg.update(func(tx *bolt.Tx) error {
		return errors.Join(segment.PutMeta(tx, r.log.id, seg.seq, r.log.streams.base), fill(tx))
	})
	if err != nil {
		return err
	}
	return seg.allocate(r.log.capacity.beginRoom())
}

// begin puts the log's state into an empty segment.
func (r *roller) begin(tx *bolt.Tx) error {
	_, err := tx.CreateBucket(segment.BucketBlocks)
	return errors.Join(err, r.log.identity.put(tx, r.log.dir), r.writeState(tx))
}

// writeState fills the state bucket of a new segment with the present state of the log.
func (r *roller) writeState(tx *bolt.Tx) error {
	bucket, err := tx.CreateBucketIfNotExists(segment.BucketState)
	if err != nil {
		return fmt.Errorf("create state: %w", err)
	}
	bucket.FillPercent = 1
	state := segment.StateWriter{Bucket: bucket, Summed: true}
	for _, s := range r.log.streams.sorted() {
		if !s.stored.Load() {
			continue
		}
		a := s.appended()
		if err := state.Put(segment.StateKey(segment.StateStream, s.name), segment.StreamState{Next: a.Events + 1, Bytes: a.Bytes}.Append(nil)); err != nil {
			return fmt.Errorf("put stream: %w", err)
		}
	}
	for key, p := range r.log.committer.producers.all {
		r.log.committer.producers.resize(key, p)
		if err := state.Put(segment.StateKey(segment.StateProducer, key.stream, key.id), p.Append(nil)); err != nil {
			return fmt.Errorf("put producer: %w", err)
		}
	}
	for _, p := range r.log.streams.cursors() {
		p.mu.Lock()
		if !p.kept {
			p.mu.Unlock()
			continue
		}
		value := p.at.Append(nil)
		p.resizeLocked(len(value))
		p.mu.Unlock()
		if err := state.Put(segment.StateKey(segment.StateCursor, p.stream.name, p.name), value); err != nil {
			return fmt.Errorf("put cursor: %w", err)
		}
	}
	if err := r.log.identity.putBranches(&state); err != nil {
		return err
	}
	return nil
}
