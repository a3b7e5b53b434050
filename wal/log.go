package wal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/standpipe/standpipe/wal/internal/disk"
)

// Log is a write-ahead log of many streams in one data directory. All methods may be called from
// any goroutine.
//
// Locks are taken in this order: Log.losing, Log.swapping, Log.mu, stream.mu, Place.mu. Under a segment's mu, and
// to take one, none of them is held but losing and swapping.
type Log struct {
	opts     Options
	id       string
	identity identity
	dir      string // of the segments

	lock *dirLock

	committer *committer
	room      *semaphore.Weighted // bytes of appends under way

	mu sync.RWMutex

	truncator   *truncator
	compactor   compactor
	stateBudget stateBudget
	capacity    capacity

	flow      atomic.Uint64 // bytes of the payloads appended since Open
	failure   atomic.Pointer[error]
	failed    chan struct{} // closed by fail
	closing   chan struct{} // closed by Close
	closeOnce sync.Once
	closeErr  error
	retention retention

	upkept   chan struct{} // closed by upkeep
	damage   damage
	segments segmentSet
	streams  streamTable
	roller   roller
	files    openFiles
}

// Open opens the log in o.Dir, or makes one. It reads the newest segment whole and of the others
// the index. A segment that can't be read is set aside, and what it held counted as dropped.
//
// Errors: ErrLocked when another process held the directory for all of LockTimeout; anything the
// file system says. ctx bounds the wait for the lock.
func Open(ctx context.Context, o Options) (*Log, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	l := &Log{
		opts: o, dir: filepath.Join(o.Dir, "wal"),
		room:     semaphore.NewWeighted(maxWaiting),
		identity: identity{streams: make(map[string][]branchBeginning), machine: machine()},
		failed:   make(chan struct{}), closing: make(chan struct{}),
		upkept: make(chan struct{}),
	}
	if err := disk.MakeDir(l.dir); err != nil {
		return nil, err
	}
	var err error
	if l.lock, err = lockDir(ctx, &l.opts, l.dir); err != nil {
		return nil, err
	}
	l.files.spare.fill()
	l.committer, l.truncator = newCommitter(l), newTruncator(l)
	l.streams = streamTable{log: l, all: make(map[string]*stream)}
	l.roller = roller{log: l, queue: newWorkQueue()}
	l.retention = newRetention(l)
	l.compactor.log, l.capacity.log, l.stateBudget.log, l.damage.log, l.segments.log = l, l, l, l, l
	if err := l.capacity.countDead(filepath.Join(o.Dir, deadName)); err != nil {
		return nil, errors.Join(err, l.letGo())
	}
	if err := l.recover(ctx); err != nil {
		return nil, errors.Join(err, l.letGo())
	}
	if l.capacity.space() < l.capacity.plenty() {
		l.capacity.noteFull()
	}
	go l.roller.queue.run()
	go l.truncator.run()
	go l.committer.run()
	go l.upkeep()
	go l.retention.runParked()
	l.damage.worker.Go(func() { l.damage.reconcileLater(l.damage.later) })
	return l, nil
}

// Close stores what has been submitted, writes the last checkpoint and lets go of the directory.
// It may be called twice.
func (l *Log) Close() error {
	l.closeOnce.Do(func() {
		close(l.closing)
		<-l.committer.done
		l.roller.queue.finish()
		l.truncator.finish()
		<-l.upkept
		<-l.retention.parkedDone
		l.compactor.workers.Wait()
		l.damage.worker.Wait()
		l.roller.removeNext()
		l.identity.noteEvents(l.dir, l.streams.events())
		l.closeErr = l.letGo()
	})
	return l.closeErr
}

func (l *Log) letGo() error {
	var errs []error
	for _, s := range l.segments.all {
		errs = append(errs, s.closeForGood())
	}
	if l.segments.next != nil { // of a log that has failed
		errs = append(errs, l.segments.next.closeForGood())
	}
	return errors.Join(append(errs, l.files.spare.release(), l.lock.release())...)
}

// ID returns the name that the log got when it was made. It never changes, and a copy of the log has it too: events' ids
// begin with the IDs that Branches returns.
func (l *Log) ID() string { return l.id }

// Sync writes a checkpoint now and returns once it is on disk, and up to 32 of the segments are unlinked that no
// destination needs any more. The rest are unlinked soon.
func (l *Log) Sync(ctx context.Context) error {
	if err := l.usable(); err != nil {
		return err
	}
	answer, err := l.committer.sync()
	if err != nil {
		return err
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-l.truncator.done:
	}
	select {
	case err := <-answer:
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

// fail makes the log refuse every append from now on.
func (l *Log) fail(err error) {
	failure := fmt.Errorf("%w: %v", ErrFailed, err)
	if l.failure.CompareAndSwap(nil, &failure) {
		l.opts.Logger.Error("the log has failed; stop the agent, check the disk and start it again", "error", err)
		close(l.failed)
	}
}

// Failed returns the error that ended the log, wrapping ErrFailed, or nil.
func (l *Log) Failed() error {
	if err := l.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// FailedChan is closed when the log fails.
func (l *Log) FailedChan() <-chan struct{} { return l.failed }

// Stat is the log's size.
type Stat struct {
	Bytes    int64 // that the segments occupy on the disk
	MaxBytes int64
	Segments int

	// StateBytes is the part of each segment that the log's streams, destinations and producers occupy. A new name that
	// would take it over MaxStateBytes is rejected with ErrStateFull, and StateFull is true for a minute after that.
	StateBytes    int64
	MaxStateBytes int64
	StateFull     bool

	// DeadBytes is the part of MaxBytes that the file of the dead letters occupies beside the segments. MaxDeadBytes is
	// its limit: a letter that does not fit is rejected with ErrDeadFull.
	DeadBytes    int64
	MaxDeadBytes int64
}

// Stat returns the log's size now.
func (l *Log) Stat() Stat {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return Stat{
		Bytes: l.capacity.usedLocked(), MaxBytes: l.opts.MaxSize, Segments: len(l.segments.all),
		StateBytes: l.stateBudget.bytes.Load(), MaxStateBytes: l.stateBudget.most(), StateFull: l.stateBudget.full.since(time.Now(), stateFullFor),
		DeadBytes: l.capacity.dead.Load(), MaxDeadBytes: l.capacity.maxDead(),
	}
}

func (c *capacity) usedLocked() int64 {
	active := c.log.segments.all[len(c.log.segments.all)-1]
	return c.aroundLocked() + max(active.disk(), active.used.Load())
}

// StreamStat is a stream at one instant.
type StreamStat struct {
	Name        string
	First, Next uint64 // the offsets [First, Next) are held
	Appended    Count
}

// Streams returns every stream that the log knows, by name.
func (l *Log) Streams() []StreamStat {
	var stats []StreamStat
	for _, s := range l.streams.sorted() {
		if !s.stored.Load() && len(s.sortedCursors()) == 0 {
			continue // an append is under way
		}
		a := s.appended()
		st := StreamStat{Name: s.name, Next: a.Events + 1, First: a.Events + 1, Appended: a}
		if seg, sp := l.segments.find(s.name, 0); seg != nil {
			st.First = sp.first
		}
		stats = append(stats, st)
	}
	return stats
}

// OpenCursor returns the destination's place in the stream, making both when they are new. A new place
// starts at the oldest event that the log still holds: what was there before it counts as dropped
// with the reason absent. The caller owns the place until Park: until then another OpenCursor of it is ErrCursorOpen.
func (l *Log) OpenCursor(streamName, destination string) (*Cursor, error) {
	if streamName == "" || destination == "" || max(len(streamName), len(destination)) > maxStreamName {
		return nil, fmt.Errorf("wal: a place needs the names of a stream and of a destination of 1 to %d bytes, got %d and %d",
			maxStreamName, len(streamName), len(destination))
	}
	s := l.streams.pin(streamName)
	defer l.streams.unpin(s)
	defer l.segments.hold()() // what a new place waits for must not go before the place is known
	gaps, err := l.damage.gapsFor(s, destination)
	if err != nil {
		return nil, err
	}
	p, bad, err := l.streams.openCursor(s, destination, gaps)
	if err == nil && bad {
		if err = l.damage.reconcile(p); err != nil {
			p.Park()
		}
	}
	if err != nil {
		return nil, err
	}
	l.committer.touch()
	s.settled.wake()
	return p, nil
}

// cursor finds or makes the cursor, and opens it. bad: the cursor is new and a part of the stream is given up.
func (t *streamTable) openCursor(s *stream, destination string, gaps Count) (p *Cursor, bad bool, err error) {
	t.log.mu.RLock()
	defer t.log.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	p = s.cursors[destination]
	made := p == nil
	if made {
		var spans []span
		for _, seg := range t.log.segments.all {
			if sp, ok := seg.spans[s.name]; ok {
				spans = append(spans, sp)
				bad = bad || len(seg.bad[s.name]) > 0
			}
		}
		p = newCursor(t.log, s, destination, spans, gaps)
		if err := t.log.stateBudget.admitCursorLocked(p); err != nil {
			return nil, false, err
		}
		p.dirtyLocked() // no other goroutine has it yet
		s.cursors[p.name] = p
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened {
		return nil, false, fmt.Errorf("%w: destination %q of stream %q", ErrCursorOpen, destination, s.name)
	}
	p.opened, p.rests = true, false
	if made {
		p.dirtyLocked() // now that it is whole
	}
	for w := range s.awaited { // its events may be gone since it began
		w.lost = w.lost || p.lostOfLocked(w) || made && p.lost[0] >= s.next
	}
	return p, bad, nil
}

// newCursor is called with Log.mu and s.mu held. The spans may be ahead of the stream, never behind it, and
// lack what is in the gaps.
func newCursor(l *Log, s *stream, name string, spans []span, gaps Count) *Cursor {
	p := &Cursor{log: l, stream: s, name: strings.Clone(name)}
	first, appended, held := s.next, Count{s.next - 1, s.bytes}, Count{}
	for i, sp := range spans {
		if i == 0 {
			first = sp.first
		}
		held.Add(sp.count())
		if sp.next > s.next {
			appended = Count{sp.next - 1, sp.after}
		}
	}
	absent := appended.Sub(held).Plus(gaps)
	missing := absent
	if lost := min(s.base, absent.Events); lost > 0 {
		p.at.ledger.drop(DroppedCorrupt, Count{Events: lost})
		absent.Events -= lost
	}
	if absent.Events > 0 {
		p.at.ledger.drop(DroppedAbsent, absent)
	}
	for i := range p.at.lanes {
		p.at.lanes[i].Checkpoint = first
		switch {
		case missing.Events > first-1: // some event beyond first is absent, it is unknown which
			p.lost[i] = s.next
		case missing.Events > 0:
			p.lost[i] = first
		}
	}
	p.synced, p.low = p.at.lanes, first
	return p
}

// Cursors returns every destination that has a place in the stream, by name.
func (l *Log) Cursors(streamName string) []*Cursor {
	if s := l.streams.lookup(streamName); s != nil {
		return s.sortedCursors()
	}
	return nil
}

// Grown returns a channel that is closed when the stream has got new events after this call.
func (l *Log) Grown(streamName string) <-chan struct{} {
	for {
		if s := l.streams.lookup(streamName); s != nil {
			return s.grown.wait()
		}
		born := l.streams.born.wait()
		if l.streams.lookup(streamName) == nil {
			return born
		}
	}
}

// Next returns the offset that the stream's next event gets.
func (l *Log) Next(streamName string) uint64 { return l.Appended(streamName).Events + 1 }
