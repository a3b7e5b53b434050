package wal

import (
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/queue"
	"github.com/standpipe/standpipe/wal/internal/segfile"
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

	requested *nextSegment // the next segment, requested but not yet the newest; nil: none is
	// work makes the next segment and closes sealed ones, beside the committer. The committer may wait for the next
	// segment, so nothing slow may be in the queue. For unlinks see package truncate.
	work *queue.Work
}

// nextSegment is the segment after the newest, while it is made.
type nextSegment struct {
	ready chan struct{} // closed when it is made, or the attempt failed
	seg   *liveset.Segment
	err   error
}

// successor returns the segment that follows the newest, if the newest is full with used bytes; otherwise nil. The next
// segment is requested once the newest has begun and is half full, or the volume is short. During a shortage successor
// returns nil, and the newest segment grows. It also grows while there is no room for the segment after the next.
func (r *roller) successor(active *liveset.Segment, used int64) (*liveset.Segment, error) {
	full := r.log.capacity.FullSegment()
	if active.Preallocated() || used < full/2 && !r.log.capacity.Short() {
		return nil, nil
	}
	if r.requested == nil {
		if max(used, active.Allocated())+r.log.capacity.Reserve(active) > r.log.capacity.Limit() {
			return nil, nil
		}
		r.requested = r.preallocate(active.Seq + 1)
	}
	if used < full || used+active.SealRoom()+r.log.capacity.CheckpointBytes()+r.log.capacity.BytesToBegin() > r.log.capacity.Limit() {
		return nil, nil
	}
	seg, err := r.awaitNext(r.log.capacity.CheckpointBytes() + segfile.SealPages)
	if disk.Shortage(err) {
		return nil, nil
	}
	return seg, err
}

// awaitNext waits for the requested segment. It allocates the bytes that its first transaction takes, and more bytes.
func (r *roller) awaitNext(more int64) (*liveset.Segment, error) {
	<-r.requested.ready
	seg, err := r.requested.seg, r.requested.err
	if err != nil {
		r.requested = nil
		return nil, err
	}
	if want := r.log.capacity.BytesToBegin() + more; want > seg.Reserved() {
		err = seg.Allocate(want)
		r.log.segments.MeasureNext(seg)
	}
	return seg, err
}

// preallocate requests the segment: the work queue makes it beside the committer.
func (r *roller) preallocate(seq uint64) *nextSegment {
	n := &nextSegment{ready: make(chan struct{})}
	r.work.Add(func() {
		defer close(n.ready)
		n.err = r.log.files.Retry(func() (err error) {
			n.seg, err = r.createSegment(seq, func(*bolt.Tx) error { return nil })
			return err
		})
		if n.err != nil {
			n.err = fmt.Errorf("make the next segment ready: %w", n.err)
			return
		}
		r.log.segments.SetNext(n.seg)
	})
	return n
}

// removeNext removes the next segment when the log closes: the newest is not sealed. After a failure it is unknown
// whether the newest is sealed, so the next segment is closed and stays.
func (r *roller) removeNext() {
	next := r.log.segments.Next()
	if next == nil {
		return
	}
	if r.log.Failed() != nil {
		if err := next.CloseForGood(); err != nil {
			r.log.opts.Logger.Warn("the segment that was made ready could not be closed", "segment", next.Path, "error", err)
		}
		return
	}
	if err := errors.Join(next.Remove(os.Remove), r.log.lock.Sync()); err != nil {
		r.log.opts.Logger.Warn("the segment that was made ready could not be removed", "segment", next.Path, "error", err)
	}
	r.log.segments.RemoveNext()
}

// sealIfLarge seals the newest segment if it is full, and the commit that filled it did not seal it.
func (r *roller) sealIfLarge() error {
	active := r.log.segments.Newest()
	used := active.Used()
	if used < r.log.capacity.FullSegment() {
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
func (r *roller) seal(active, next *liveset.Segment) (sealed bool, err error) {
	active.LimitTo(r.log.capacity.Limit(), active.SealRoom())
	err = active.Update(func(tx *bolt.Tx) error { return active.PutSeal(tx, nil) })
	var ce *segfile.CommitError
	if errors.As(err, &ce) && ce.Harmless {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("seal segment: %w", err)
	}
	r.roll(active, next)
	return true, nil
}

// roll makes next the newest segment, after the old one was sealed. It frees the bytes that were allocated ahead in the
// old one. The work queue closes it, since that waits for its readers.
func (r *roller) roll(old, next *liveset.Segment) {
	err := old.Trim()
	switch {
	case disk.Shortage(err): // the bytes stay allocated, and are counted
		r.log.opts.Logger.Warn("a sealed segment keeps its preallocated blocks", "segment", old.Path, "error", err)
	case err != nil:
		r.log.fail(fmt.Errorf("trim segment: %w", err))
	}
	old.Sealed()
	r.log.segments.Roll(old, next)
	r.requested = nil
	r.work.Add(func() {
		if err := old.Retire(); err != nil && !disk.Shortage(err) {
			r.log.fail(fmt.Errorf("close segment: %w", err))
		}
		r.log.files.KeepSpares()
	})
}

// createSegment makes a segment with the content of fill.
func (r *roller) createSegment(seq uint64, fill func(tx *bolt.Tx) error) (*liveset.Segment, error) {
	seg := liveset.NewSegment(segfile.New(r.log.dir, seq, &r.log.files, r.log.opts.Logger))
	err := seg.Create(r.log.opts.SegmentSize, func() error { return r.fillSegment(seg, fill) }, r.log.lock.Sync)
	if err != nil {
		return nil, err
	}
	return seg, nil
}

func (r *roller) fillSegment(seg *liveset.Segment, fill func(tx *bolt.Tx) error) error {
	if err := seg.Lengthen(capacity.EmptySegment + 2*r.log.capacity.StateBytes.Load()); err != nil {
		return err
	}
	err := seg.Update(func(tx *bolt.Tx) error {
		return errors.Join(segment.PutMeta(tx, r.log.identity.ID, seg.Seq, r.log.streams.base), fill(tx))
	})
	if err != nil {
		return err
	}
	return seg.Allocate(r.log.capacity.BytesToBegin())
}

// begin puts the log's state into an empty segment.
func (r *roller) begin(tx *bolt.Tx) error {
	_, err := tx.CreateBucket(segment.BucketBlocks)
	return errors.Join(err, r.log.identity.Put(tx, r.log.dir), r.writeState(tx))
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
	if err := r.log.committer.producers.PutAll(&state); err != nil {
		return err
	}
	for _, p := range r.log.streams.cursors() {
		p.mu.Lock()
		if !p.inState {
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
	if err := r.log.identity.PutBranches(&state); err != nil {
		return err
	}
	return nil
}
