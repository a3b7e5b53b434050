package wal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/commit"
	"github.com/standpipe/standpipe/wal/internal/compact"
	"github.com/standpipe/standpipe/wal/internal/dirlock"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/identity"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/loss"
	"github.com/standpipe/standpipe/wal/internal/reader"
	"github.com/standpipe/standpipe/wal/internal/retain"
	"github.com/standpipe/standpipe/wal/internal/roll"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/truncate"
	"github.com/standpipe/standpipe/wal/timeline"
)

// Log is a write-ahead log of many streams in one data directory. All methods may be called from any goroutine.
//
// # Owners
//
// Log connects the owners of its state. Each file is named after the job of its owner:
//   - commit.Committer stores appends and checkpoints.
//   - roll.Roller seals the newest segment and makes the next.
//   - truncate.Truncator unlinks settled segments, and compact.Compactor shrinks segments that are settled in part.
//   - retain.Keeper decides which settled segments stay for replay.
//   - retention applies the streams' policies.
//   - capacity.Capacity bounds the bytes.
//   - damage counts the events that are lost with unreadable parts; loss.Counter finds them.
//   - liveset.Set holds the segments, and streamTable the streams.
//
// # Locks
//
// A commit publishes the spans of a segment and the next offsets of its streams while it holds the lock of liveset.Set. So
// a function that Set calls under its lock sees no event in one and not in the other. streamTable.mu also guards
// retention.policyOf. Slow work happens without these locks.
//
// Locks are acquired in this order: damage.mu, the two of liveset.Set, with the committer's lead between them,
// streamTable.mu, stream.mu, Cursor.mu.
// Each other mutex is acquired after them, and guards one owner's fields only. The exception is package segfile: while one
// of its mutexes is held or acquired, damage.mu and replacing may be held, but not the other mutexes of this order.
type Log struct {
	opts     Options
	identity identity.Log
	dir      string // of the segments
	lock     *dirlock.Lock

	times    *timeline.Table
	segments *liveset.Set
	reader   reader.Reader
	history  reader.Reader // reads the retained segments too
	streams  streamTable

	committer *commit.Committer
	roller    *roll.Roller
	truncator *truncate.Truncator
	retained  *retain.Keeper
	compactor *compact.Compactor
	retention retention
	capacity  *capacity.Capacity
	damage    damage
	files     segfile.Files
	onFull    atomic.Pointer[OnFull] // see SetLimits

	failure   atomic.Pointer[error]
	failed    chan struct{} // closed by fail
	closing   chan struct{} // closed by Close
	upkept    chan struct{} // closed by upkeep
	closeOnce sync.Once
	closeErr  error
}

func newLog(o Options) *Log {
	l := &Log{
		opts: o, dir: filepath.Join(o.Dir, "wal"),
		identity: identity.New(), times: o.Timelines,
		failed: make(chan struct{}), closing: make(chan struct{}), upkept: make(chan struct{}),
	}
	l.onFull.Store(&o.OnFull)
	l.segments = liveset.New(func() {
		l.truncator.SearchLater()
		l.committer.Touch(CheckpointInterval)
	})
	l.reader = reader.Reader{Segments: l.segments, End: l.Next, Times: l.times, Patience: o.readPatience}
	l.history = l.reader
	l.history.Retained = true
	l.capacity = capacity.New(capacity.Options{
		Dir: l.dir, MaxSize: o.MaxSize, LeastSize: MinMaxSize, SegmentSize: o.SegmentSize, LargestCommit: commit.LargestCommit,
		Segments: l.segments, Logger: o.Logger, Clock: o.Clock,
		Release: func(bytes int64) bool { l.retained.Demand(bytes); return l.truncator.Release() },
		Trim:    func() { l.truncator.Trim() },
	})
	l.retained = retain.New(l.segments, l.capacity)
	l.retained.SetPeriod(o.Retain)
	l.streams = streamTable{log: l, all: make(map[string]*stream)}
	l.roller = roll.New(roll.Options{
		Dir: l.dir, SegmentSize: o.SegmentSize, Segments: l.segments, Capacity: l.capacity, Files: &l.files, Logger: o.Logger,
		SyncFolder: func() error { return l.lock.Sync() }, PutMeta: l.putMeta, Fail: l.fail,
	})
	l.truncator = truncate.New(truncate.Options{
		Segments: l.segments, Logger: o.Logger, Closing: l.closing, Needs: l.streams.needsAfterCrash,
		Keep: l.retained.Keeps, Surplus: l.retained.Surplus, Unlink: o.unlink, SyncFolder: func() error { return l.lock.Sync() },
		Found: o.settledStep, Freed: func() { l.committer.Wake() }, Searched: func() { l.compactor.Start() },
	})
	l.compactor = compact.NewCompactor(compact.Options{
		Segments: l.segments, Capacity: l.capacity, Destinations: destinations{&l.streams}, SegmentSize: o.SegmentSize, Files: &l.files,
		Logger: o.Logger, AtOnce: o.compactAtOnce, Spares: l.retained.Spares, Usable: func() bool { return l.usable() == nil }, Closing: l.closing,
		SyncFolder: func() error { return l.lock.Sync() }, Step: o.compactStep,
	})
	l.retention = newRetention(l)
	l.committer = commit.New(commit.Options{
		Segments: l.segments, Capacity: l.capacity, Roller: l.roller, Truncator: l.truncator,
		Streams: &l.streams, Cursors: movedCursors{&l.streams}, Budgets: budgets{&l.retention},
		OnFull: l.whenFull, Linger: o.CommitLinger, ProducerIdle: o.ProducerIdle, Logger: o.Logger, Clock: o.Clock,
		ClockEvenFor: l.retention.clock.EvenFor, Closing: l.closing, Failed: l.Failed, Fail: l.fail,
		BeginState: l.beginState, DropOldest: l.retention.dropOldest,
		Committed: o.OnCommit, BeforeCommit: o.beforeCommit, AfterCommit: o.afterCommit,
	})
	l.damage.log = l
	l.damage.counter = loss.Counter{Segments: l.segments, Reader: &l.reader, Closing: l.closing, Logger: o.Logger}
	return l
}

// Open opens the log in o.Dir, or creates one. It reads all of the newest segment, and the indexes of the others. A
// segment that cannot be read is set aside, and its events count as dropped.
//
// Errors: ErrLocked if another process held the directory for all of LockTimeout; a *VersionError if a later release
// wrote a part of the log; errors of the file system. ctx bounds the wait for the lock.
func Open(ctx context.Context, o Options) (*Log, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	l := newLog(o)
	if err := disk.MakeDir(l.dir); err != nil {
		return nil, err
	}
	var err error
	lock := dirlock.Options{Dir: o.Dir, Folder: l.dir, Timeout: o.LockTimeout, NodeName: o.NodeName, Logger: o.Logger, Sync: o.syncFolder}
	if l.lock, err = dirlock.Acquire(ctx, lock); err != nil {
		return nil, err
	}
	if err := l.times.Load(); err != nil {
		o.Logger.Error("corrections of times damaged; set aside", "error", errors.Join(err, l.times.SetAside()))
	}
	l.files.KeepSpares()
	if err := l.countDead(); err != nil {
		return nil, errors.Join(err, l.release())
	}
	if err := l.recover(ctx); err != nil {
		return nil, errors.Join(err, l.release())
	}
	l.truncator.Sort()
	if l.capacity.Space() < l.capacity.Plenty() {
		l.capacity.NoteFull()
	}
	go l.roller.Run()
	go l.truncator.Run()
	go l.committer.Run()
	go l.upkeep()
	go l.retention.runParked()
	l.damage.worker.Go(func() { l.damage.reconcileLater(l.damage.later) })
	return l, nil
}

// Hurry ends the waits of batches for others that share their commit, from now on: an agent that stops awaits its batches.
func (l *Log) Hurry() { l.committer.Hurry() }

// Close stores the submitted batches, writes the last checkpoint and releases the directory. It may be called twice.
func (l *Log) Close() error {
	l.closeOnce.Do(func() {
		close(l.closing)
		<-l.committer.Done()
		l.roller.Finish()
		l.truncator.Finish()
		<-l.upkept
		<-l.retention.parkedDone
		l.compactor.Wait()
		l.damage.worker.Wait()
		l.roller.RemoveNext(l.Failed() != nil)
		l.identity.NoteEvents(l.dir, l.streams.events())
		l.closeErr = l.release()
	})
	return l.closeErr
}

// release closes the segments, and releases the directory.
func (l *Log) release() error {
	return errors.Join(l.segments.CloseForGood(), l.files.CloseSpares(), l.lock.Release())
}

// ID returns the name that the log got when it was created. It never changes, and a copy of the log has the same one.
// The IDs of events begin with the IDs that Branches returns.
func (l *Log) ID() string { return l.identity.ID }

// Sync writes a checkpoint now. It returns once the checkpoint is on disk and up to 32 segments that no destination
// needs are unlinked. Other such segments are unlinked soon after.
func (l *Log) Sync(ctx context.Context) error {
	if err := l.usable(); err != nil {
		return err
	}
	result, err := l.committer.Sync()
	if err != nil {
		return err
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-l.truncator.Done():
	}
	select {
	case err := <-result:
		return err
	default:
		return ErrClosed
	}
}

func (l *Log) usable() error {
	select {
	case <-l.closing:
		return ErrClosed
	default:
		return l.Failed()
	}
}

// fail makes the log reject every append from now on.
func (l *Log) fail(err error) {
	failure := fmt.Errorf("%w: %v", ErrFailed, err)
	if l.failure.CompareAndSwap(nil, &failure) {
		l.opts.Logger.Error("the log has failed; stop the agent, check the disk and start it again", "error", err)
		close(l.failed)
	}
}

// Failed returns the error that made the log fail, wrapping ErrFailed, or nil.
func (l *Log) Failed() error {
	if err := l.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// FailedChan returns a channel that is closed when the log fails.
func (l *Log) FailedChan() <-chan struct{} { return l.failed }

// Stat is the log's size.
type Stat = capacity.Stat

// Stat returns the log's size now.
func (l *Log) Stat() Stat { return l.capacity.Stat(time.Now(), l.files.Written()) }
