package roll

import (
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/queue"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/small"
)

// Options are the dependencies and settings of a Roller. All fields must be set.
type Options struct {
	Dir         string // of the segments
	SegmentSize int64
	Segments    *liveset.Set
	Capacity    *capacity.Capacity
	Files       *segfile.Files
	Logger      hclog.Logger
	SyncFolder  func() error                        // syncs Dir
	PutMeta     func(tx *bolt.Tx, seq uint64) error // writes the head of a new segment
	Fail        func(error)                         // makes the log fail
}

// Roller seals the newest segment and makes the next one.
type Roller struct {
	o Options

	requested *nextSegment // the next segment, requested but not yet the newest; nil: none is
	// work makes the next segment and closes sealed ones, beside the committer. The committer may wait for the next
	// segment, so nothing slow may be in the queue. For unlinks see package truncate.
	work *queue.Work
}

// New returns a Roller. Run must be called for it.
func New(o Options) *Roller { return &Roller{o: o, work: queue.NewWork()} }

// Run makes segments and closes sealed ones, until Finish is called.
func (r *Roller) Run() { r.work.Run() }

// Finish ends Run after the work that is queued.
func (r *Roller) Finish() { r.work.Finish() }

// nextSegment is the segment after the newest, while it is made.
type nextSegment struct {
	ready chan struct{} // closed when it is made, or the attempt failed
	seg   *liveset.Segment
	err   error
}

// Successor returns the segment that follows the newest, if the newest is full with used bytes; otherwise nil. The next
// segment is requested once the newest has begun and is half full, or the volume is short. During a shortage Successor
// returns nil, and the newest segment grows. It also grows while there are too few bytes for the segment after the next,
// and while it lacks a part of the state.
func (r *Roller) Successor(active *liveset.Segment, used int64) (*liveset.Segment, error) {
	full := r.o.Capacity.FullSegment()
	if active.Preallocated() || used < full/2 && !r.o.Capacity.Short() {
		return nil, nil
	}
	if r.requested == nil {
		if max(used, active.Allocated())+r.o.Capacity.Reserve(active) > r.o.Capacity.Limit() {
			return nil, nil
		}
		r.requested = r.preallocate(active.Seq + 1)
	}
	if used < full || active.Continued() || used+active.SealBytes()+r.o.Capacity.CheckpointBytes()+r.o.Capacity.BytesToBegin() > r.o.Capacity.Limit() {
		return nil, nil
	}
	seg, err := r.awaitNext(r.o.Capacity.CheckpointBytes() + segfile.SealPages)
	if disk.Shortage(err) {
		return nil, nil
	}
	return seg, err
}

// awaitNext waits for the requested segment. It allocates the bytes that its first transaction takes, and more bytes.
func (r *Roller) awaitNext(more int64) (*liveset.Segment, error) {
	<-r.requested.ready
	seg, err := r.requested.seg, r.requested.err
	if err != nil {
		r.requested = nil
		return nil, err
	}
	if want := r.o.Capacity.BytesToBegin() + more; want > seg.Reserved() {
		err = r.o.Capacity.Retained.WithSpace(want, func() error { return seg.Allocate(want) })
		r.o.Segments.MeasureNext(seg)
	}
	return seg, err
}

// preallocate requests the segment: the work queue makes it beside the committer.
func (r *Roller) preallocate(seq uint64) *nextSegment {
	n := &nextSegment{ready: make(chan struct{})}
	r.work.Add(func() {
		defer close(n.ready)
		n.err = r.o.Capacity.Retained.WithSpace(r.o.Capacity.BytesToBegin(), func() error {
			return r.o.Files.Retry(func() (err error) {
				n.seg, err = r.Create(seq, func(*bolt.Tx) error { return nil })
				return err
			})
		})
		if n.err != nil {
			n.err = fmt.Errorf("make the next segment ready: %w", n.err)
			return
		}
		r.o.Segments.SetNext(n.seg)
	})
	return n
}

// RemoveNext removes the next segment when the log closes: the newest is not sealed. After a failure of the log it is
// unknown whether the newest is sealed, so the next segment is closed and stays. It is called after Finish.
func (r *Roller) RemoveNext(failed bool) {
	next := r.o.Segments.Next()
	if next == nil {
		return
	}
	if failed {
		if err := next.CloseForGood(); err != nil {
			r.o.Logger.Warn("the segment that was made ready could not be closed", "segment", next.Path, "error", err)
		}
		return
	}
	if err := errors.Join(next.Remove(os.Remove), r.o.SyncFolder()); err != nil {
		r.o.Logger.Warn("the segment that was made ready could not be removed", "segment", next.Path, "error", err)
	}
	r.o.Segments.RemoveNext()
}

// SealIfLarge seals the newest segment if it is full, and the commit that filled it did not seal it.
func (r *Roller) SealIfLarge() error {
	active := r.o.Segments.Newest()
	used := active.Used()
	if used < r.o.Capacity.FullSegment() {
		return nil
	}
	next, err := r.Successor(active, used)
	if next == nil || err != nil {
		return err
	}
	_, err = r.seal(active, next) // without space, a later call seals it
	return err
}

// seal seals the newest segment with a transaction of its own, and makes next the newest. sealed is false if there was
// no space for that.
func (r *Roller) seal(active, next *liveset.Segment) (sealed bool, err error) {
	active.LimitTo(r.o.Capacity.Limit(), active.SealBytes()+active.SmallGrowth())
	err = active.Update(func(tx *bolt.Tx) error { return active.PutSeal(tx, nil) })
	var ce *segfile.CommitError
	if errors.As(err, &ce) && ce.Harmless {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("seal segment: %w", err)
	}
	r.Roll(active, next)
	return true, nil
}

// Renew seals the newest segment however short it is, and makes the next one the newest. It reports false, and logs the
// reason, if there is no space for that.
func (r *Roller) Renew(active *liveset.Segment) bool {
	if r.requested == nil {
		r.requested = r.preallocate(active.Seq + 1)
	}
	next, err := r.awaitNext(0)
	if err != nil {
		r.o.Logger.Warn("full segment not replaced", "segment", active.Path, "error", err)
		return false
	}
	sealed, err := r.seal(active, next)
	if err != nil {
		r.o.Fail(err)
	}
	if sealed {
		r.o.Logger.Debug("full segment of settled events sealed", "segment", active.Path, "bytes", active.Used())
	}
	return sealed
}

// Roll makes next the newest segment, after the old one was sealed. It frees the bytes that were allocated ahead in the
// old one. The work queue closes it, since that waits for its readers.
func (r *Roller) Roll(old, next *liveset.Segment) {
	err := old.Trim()
	switch {
	case disk.Shortage(err): // the bytes stay allocated, and are counted
		r.o.Logger.Warn("a sealed segment keeps its preallocated blocks", "segment", old.Path, "error", err)
	case err != nil:
		r.o.Fail(fmt.Errorf("trim segment: %w", err))
	}
	old.Sealed()
	r.o.Segments.Roll(old, next)
	r.requested = nil
	r.work.Add(func() {
		if err := old.Retire(); err != nil && !disk.Shortage(err) {
			r.o.Fail(fmt.Errorf("close segment: %w", err))
		}
		r.o.Files.KeepSpares()
	})
}

// Create makes a segment with the content of fill.
func (r *Roller) Create(seq uint64, fill func(tx *bolt.Tx) error) (*liveset.Segment, error) {
	seg := liveset.NewSegment(segfile.New(r.o.Dir, seq, r.o.Files, r.o.Logger))
	err := seg.Create(r.o.SegmentSize, func() error { return r.fillSegment(seg, fill) }, r.o.SyncFolder)
	if err != nil {
		return nil, err
	}
	return seg, nil
}

func (r *Roller) fillSegment(seg *liveset.Segment, fill func(tx *bolt.Tx) error) error {
	if err := seg.Lengthen(r.o.Capacity.BytesToBegin() + r.o.Capacity.StateBytes.Load()); err != nil {
		return err
	}
	err := seg.Update(func(tx *bolt.Tx) error {
		return errors.Join(r.o.PutMeta(tx, seg.Seq), small.Create(tx, r.o.Capacity.SmallPages()), fill(tx))
	})
	if err != nil {
		return err
	}
	return seg.Allocate(r.o.Capacity.BytesToBegin())
}
