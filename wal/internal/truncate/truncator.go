package truncate

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/queue"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Options are the dependencies and settings of a Truncator. All fields must be set.
type Options struct {
	Segments   *liveset.Set
	Logger     hclog.Logger
	Closing    <-chan struct{}                           // closed when the log closes
	Needs      func(stream string, run segment.Run) bool // some destination would need events of the run after a crash
	Keep       func(seg *liveset.Segment) bool           // a settled segment is retained instead
	Surplus    func() []*liveset.Segment                 // removes from the set the retained segments that are to be unlinked now
	Unlink     func(path string) error                   // removes the file of a segment
	SyncFolder func() error                              // syncs the folder of the segments
	Found      func()                                    // called when settled segments are found, and not removed yet
	Freed      func()                                    // called after some unlinks: appends may wait for the bytes
	Searched   func()                                    // called after a search for settled segments, and the first unlinks
}

// Truncator unlinks the segments that no destination needs. It has a goroutine of its own, so that no append or
// checkpoint waits for an unlink: there may be thousands of unlinks when a destination is available again.
type Truncator struct {
	o    Options
	wake chan struct{} // holds one
	stop chan struct{} // closed by Finish
	done chan struct{} // closed by Run

	mu    sync.Mutex
	after []func() // called after the next pass

	due     atomic.Bool   // a checkpoint may have settled segments since the last pass
	toMark  atomic.Uint64 // the newest segment, until the marker has its number; then 0
	failing atomic.Bool   // an unlink failed, and is retried at the next checkpoint
	asked   atomic.Bool   // see SearchLater
	more    atomic.Bool   // the last pass has left segments to the next

	// Owned by Run's goroutine. The segments have left the log, but their files count as in use until they are
	// unlinked.
	unneeded []*liveset.Segment
	failed   []*liveset.Segment            // their unlink failed
	needed   map[*liveset.Segment]neededBy // at the last look, of the segments that were not settled
	marker   segfile.Marker
}

// truncateStep bounds the unlinks that a Sync or Close waits for.
const truncateStep = 32

// New returns a Truncator that does nothing before Run.
func New(o Options) *Truncator {
	return &Truncator{o: o, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

// Run truncates whenever it is woken, until Finish is called.
func (t *Truncator) Run() {
	defer close(t.done)
	for {
		select {
		case <-t.wake:
			t.retry()
			for t.pass() && !t.closing() {
			}
		case <-t.stop:
			t.retry()
			t.pass() // the rest is unlinked after the next start
			return
		}
	}
}

func (t *Truncator) closing() bool {
	select {
	case <-t.o.Closing:
		return true
	default:
		return false
	}
}

// Done returns a channel that is closed when Run has returned.
func (t *Truncator) Done() <-chan struct{} { return t.done }

// Finish makes Run do one more pass, and returns when Run has returned.
func (t *Truncator) Finish() {
	close(t.stop)
	<-t.done
}

// Checkpointed is called when a checkpoint is on the disk: it may have settled segments.
func (t *Truncator) Checkpointed() {
	t.due.Store(true)
	queue.Poke(t.wake)
}

// SearchLater makes TakeSearch return true once. It is called when segments may be unlinked now without another
// checkpoint: a Hold has ended, or events below a floor are dropped.
func (t *Truncator) SearchLater() { t.asked.Store(true) }

// TakeSearch reports whether SearchLater was called since the last call.
func (t *Truncator) TakeSearch() bool { return t.asked.Swap(false) }

// Began is called when the segment with that number has begun: its first commit is on the disk.
func (t *Truncator) Began(seq uint64) {
	t.toMark.Store(seq)
	queue.Poke(t.wake)
}

// RetryFailed makes the next pass retry the unlinks that have failed, if any has.
func (t *Truncator) RetryFailed() {
	if t.failing.Load() {
		queue.Poke(t.wake)
	}
}

// AfterPass arranges a call of f after a pass that has not begun yet.
func (t *Truncator) AfterPass(f func()) {
	t.mu.Lock()
	t.after = append(t.after, f)
	t.mu.Unlock()
	queue.Poke(t.wake)
}

// AwaitPass returns after a pass that has not begun yet.
func (t *Truncator) AwaitPass() {
	done := make(chan struct{})
	t.AfterPass(func() { close(done) })
	select {
	case <-done:
	case <-t.done:
	}
}

// Trim makes a pass unlink the retained segments that are to be unlinked now, if there are retained ones.
func (t *Truncator) Trim() {
	if t.o.Segments.Use().Retained > 0 {
		queue.Poke(t.wake)
	}
}

// Release is Trim, and returns once they are unlinked. It returns false once Run has returned.
func (t *Truncator) Release() bool {
	for {
		t.AwaitPass()
		select {
		case <-t.done:
			return false
		default:
			if !t.more.Load() {
				return true
			}
		}
	}
}

func (t *Truncator) takeAfter() (after []func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	after, t.after = t.after, nil
	return after
}

// pass unlinks up to truncateStep segments and reports whether there are more. The unlinks need no sync of their own: a
// segment that a crash brings back is unlinked again.
func (t *Truncator) pass() (more bool) {
	after, due := t.takeAfter(), t.due.Swap(false)
	if due {
		t.unneeded = append(t.unneeded, t.settledSegments()...)
	}
	t.unneeded = append(t.unneeded, t.o.Surplus()...)
	// A segment may be unlinked only after the marker has the number of a later segment that has begun.
	if seq := t.toMark.Swap(0); seq > 0 {
		t.Mark(seq)
	}
	n := min(len(t.unneeded), truncateStep)
	for _, s := range t.unneeded[:n] {
		t.unlink(s)
	}
	t.unneeded = t.unneeded[n:]
	if n > 0 {
		t.freed()
	}
	if due {
		t.o.Searched()
	}
	more = len(t.unneeded) > 0
	t.more.Store(more)
	for _, f := range after {
		f()
	}
	return more
}

// FindMarker finds the marker in the folder of the segments, and returns the number that it has. It is called before Run.
func (t *Truncator) FindMarker(dir string) (seq uint64) {
	t.marker, seq = segfile.FindMarker(dir)
	return seq
}

// Mark gives the marker the number of a segment that has begun. It is called before Run, or by it.
func (t *Truncator) Mark(seq uint64) {
	if err := t.marker.Set(seq); err != nil {
		t.o.Logger.Warn("the number of the newest segment could not be noted", "segment", seq, "error", err)
	}
}

// retry enqueues the failed unlinks again.
func (t *Truncator) retry() {
	t.unneeded, t.failed = append(t.unneeded, t.failed...), nil
}

// unlink removes a segment's file, after which its bytes no longer count.
func (t *Truncator) unlink(s *liveset.Segment) {
	if err := s.Remove(t.o.Unlink); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.failed = append(t.failed, s)
		t.o.Segments.Stuck(s)
		if !t.failing.Swap(true) {
			t.o.Logger.Warn("a settled segment could not be unlinked; it counts as in use until it is gone", "segment", s.Path, "error", err)
		}
		return
	}
	t.o.Segments.Unlinked(s)
	t.o.Logger.Debug("segment truncated", "segment", filepath.Base(s.Path))
}

// freed is called after some unlinks: appends may wait for the bytes. The unlinks share one sync of the folder.
func (t *Truncator) freed() {
	t.o.Freed()
	if len(t.unneeded) > 0 {
		return
	}
	if err := t.o.SyncFolder(); err != nil {
		t.o.Logger.Warn("unlink was not synced", "error", err)
	}
	if len(t.failed) == 0 && t.failing.Swap(false) {
		t.o.Logger.Info("the settled segments that could not be unlinked are gone")
	}
}

// Sort is the search for settled segments of the first pass. It is called before Run and before a cursor is opened: the bytes of
// retained segments are free before the first append, and a new destination begins behind the segments that an earlier run
// retained.
func (t *Truncator) Sort() { t.unneeded = append(t.unneeded, t.settledSegments()...) }

// settledSegments removes the segments that no destination needs from the row, and returns those that are not retained. There may be
// thousands, with thousands of streams each, so it examines them without the set's lock, for which commits and readers
// wait.
func (t *Truncator) settledSegments() (settled []*liveset.Segment) {
	look, ok := t.o.Segments.Look()
	if !ok {
		return nil // the next checkpoint tries again
	}
	var kept []*liveset.Segment
	needed := make(map[*liveset.Segment]neededBy)
	for _, s := range t.o.Segments.Sealed() {
		by, is := t.neededBy(s)
		switch {
		case is:
			needed[s.Segment] = by
		case t.o.Keep(s.Segment):
			kept = append(kept, s.Segment)
		default:
			settled = append(settled, s.Segment)
		}
	}
	t.needed = needed
	if len(settled)+len(kept) == 0 {
		return nil
	}
	t.o.Found()
	if !t.o.Segments.Retain(kept, look) || !t.o.Segments.Remove(settled, look) {
		return nil // a new cursor may need events that no other cursor needed
	}
	return settled
}

// neededBy finds a stream some of whose events in a sealed segment a destination needs. It first examines the stream that
// needed the segment at the last look.
func (t *Truncator) neededBy(s liveset.Sealed) (by neededBy, is bool) {
	if by, known := t.needed[s.Segment]; known && t.o.Needs(by.stream, by.run) {
		return by, true
	}
	for name, sp := range s.Spans {
		if run := sp.Run(); t.o.Needs(name, run) {
			return neededBy{name, run}, true
		}
	}
	return neededBy{}, false
}

// neededBy is a stream with events in a segment that some destination has not settled. run is the stream's part there.
type neededBy struct {
	stream string
	run    segment.Run
}
