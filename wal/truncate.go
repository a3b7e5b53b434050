package wal

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/queue"
	"github.com/standpipe/standpipe/wal/internal/segfile"
)

// truncator unlinks the segments that no destination needs. It has a goroutine of its own, so that no append or
// checkpoint waits for an unlink: there may be thousands of unlinks when a destination is available again.
type truncator struct {
	log  *Log
	wake chan struct{} // holds one
	stop chan struct{} // closed by finish
	done chan struct{} // closed by run

	mu    sync.Mutex
	after []func() // called after the next pass

	due     atomic.Bool   // a checkpoint may have settled segments since the last pass
	toMark  atomic.Uint64 // the newest segment, until the marker has its number; then 0
	failing atomic.Bool   // an unlink failed, and is retried at the next checkpoint
	owed    atomic.Bool   // the next commit wakes the truncator: some segments were held, or floors were raised

	// Owned by run's goroutine. The segments have left the log, but their files count as in use until they are
	// unlinked.
	unneeded []*liveset.Segment
	failed   []*liveset.Segment            // their unlink failed
	needed   map[*liveset.Segment]neededBy // at the last look, of the segments that were not settled
	marker   segfile.Marker
}

// truncateStep bounds the unlinks that a Sync or Close waits for.
const truncateStep = 32

func newTruncator(l *Log) *truncator {
	return &truncator{log: l, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

// run truncates whenever it is woken, until finish is called.
func (t *truncator) run() {
	defer close(t.done)
	for {
		select {
		case <-t.wake:
			t.retry()
			for t.pass() && t.log.usable() != ErrClosed { //nolint:errorlint // usable returns it as it is
			}
		case <-t.stop:
			t.retry()
			t.pass() // the rest is unlinked after the next start
			return
		}
	}
}

// finish does one more pass and returns.
func (t *truncator) finish() {
	close(t.stop)
	<-t.done
}

// checkpointed is called when a checkpoint is on the disk: it may have settled segments.
func (t *truncator) checkpointed() {
	t.due.Store(true)
	queue.Poke(t.wake)
}

// afterPass arranges a call of f after a pass that has not begun yet.
func (t *truncator) afterPass(f func()) {
	t.mu.Lock()
	t.after = append(t.after, f)
	t.mu.Unlock()
	queue.Poke(t.wake)
}

func (t *truncator) takeAfter() (after []func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	after, t.after = t.after, nil
	return after
}

// pass unlinks up to truncateStep segments and reports whether there are more. The unlinks need no sync of their own: a
// segment that a crash brings back is unlinked again.
func (t *truncator) pass() (more bool) {
	after, asked := t.takeAfter(), t.due.Swap(false)
	if asked {
		t.unneeded = append(t.unneeded, t.settledSegments()...)
	}
	// A segment may be unlinked only after the marker has the number of a later segment that has begun.
	if seq := t.toMark.Swap(0); seq > 0 {
		t.mark(seq)
	}
	n := min(len(t.unneeded), truncateStep)
	for _, s := range t.unneeded[:n] {
		t.unlink(s)
	}
	t.unneeded = t.unneeded[n:]
	if n > 0 {
		t.freed()
	}
	if asked {
		t.log.compactor.start()
	}
	for _, f := range after {
		f()
	}
	return len(t.unneeded) > 0
}

// mark gives the marker the number of a segment that has begun.
func (t *truncator) mark(seq uint64) {
	if err := t.marker.Set(seq); err != nil {
		t.log.opts.Logger.Warn("the number of the newest segment could not be noted", "segment", seq, "error", err)
	}
}

// retry enqueues the failed unlinks again.
func (t *truncator) retry() {
	t.unneeded, t.failed = append(t.unneeded, t.failed...), nil
}

// unlink removes a segment's file, after which its bytes no longer count.
func (t *truncator) unlink(s *liveset.Segment) {
	l := t.log
	if err := s.Remove(l.opts.unlink); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.failed = append(t.failed, s)
		if !t.failing.Swap(true) {
			l.opts.Logger.Warn("a settled segment could not be unlinked; it counts as in use until it is gone", "segment", s.Path, "error", err)
		}
		return
	}
	l.segments.Unlinked(s)
	l.opts.Logger.Debug("segment truncated", "segment", filepath.Base(s.Path))
}

// freed is called after some unlinks: appends may wait for the bytes. The unlinks share one sync of the folder.
func (t *truncator) freed() {
	l := t.log
	queue.Poke(l.committer.wake)
	if len(t.unneeded) > 0 {
		return
	}
	if err := l.lock.Sync(); err != nil {
		l.opts.Logger.Warn("unlink was not synced", "error", err)
	}
	if len(t.failed) == 0 && t.failing.Swap(false) {
		l.opts.Logger.Info("the settled segments that could not be unlinked are gone")
	}
}

// settledSegments removes the segments that no destination needs from the segment set, and returns them. There may be
// thousands, with thousands of streams each, so it examines them without the set's lock, for which commits and readers
// wait.
func (t *truncator) settledSegments() (settled []*liveset.Segment) {
	look, ok := t.log.segments.Look()
	if !ok {
		return nil // the next checkpoint tries again
	}
	needed := make(map[*liveset.Segment]neededBy)
	for _, s := range t.log.segments.Sealed() {
		by, is := t.neededBy(s)
		if !is {
			settled = append(settled, s.Segment)
			continue
		}
		needed[s.Segment] = by
	}
	t.needed = needed
	if len(settled) == 0 {
		return nil
	}
	t.log.opts.settledStep()
	if !t.log.segments.Remove(settled, look) {
		return nil // a new cursor may need events that no other cursor needed
	}
	return settled
}

// neededBy finds a stream some of whose events in a sealed segment a destination needs. It first examines the stream that
// needed the segment at the last look.
func (t *truncator) neededBy(s liveset.Sealed) (by neededBy, is bool) {
	if by, known := t.needed[s.Segment]; known && t.log.streams.low(by.stream) < by.next {
		return by, true
	}
	for name, sp := range s.Spans {
		if t.log.streams.low(name) < sp.Next {
			return neededBy{name, sp.Next}, true
		}
	}
	return neededBy{}, false
}

// neededBy is a stream with events in a segment that some destination has not settled. next is the stream's end there.
type neededBy struct {
	stream string
	next   uint64
}

// low returns the first offset of the stream that some destination would need after a crash. A stream without a
// destination keeps all events at or above its floor.
func (t *streamTable) low(stream string) uint64 { return t.lookup(stream).low() }

func (s *stream) low() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	low := s.next
	if len(s.cursors) == 0 {
		low = s.floor.Offset()
	}
	for _, p := range s.cursors {
		p.mu.Lock()
		low = min(low, p.at.Low)
		p.mu.Unlock()
	}
	return low
}
