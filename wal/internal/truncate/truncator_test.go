package truncate_test

import (
	"bytes"
	"errors"
	"os"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
	"github.com/standpipe/standpipe/wal/internal/truncate"
)

// row is a set of sealed segments with ten events of stream "s" each, and its truncator.
type row struct {
	set       *liveset.Set
	truncator *truncate.Truncator
	low, high atomic.Uint64 // a destination needs the offsets [low, high)
	broken    atomic.Bool   // unlinks fail
	syncs     atomic.Int64
	keep      atomic.Bool  // settled segments are retained
	wanted    atomic.Int64 // bytes of retained segments that the next pass unlinks
	paths     []string

	unlinks, step int // since the last step, and the most in one step; owned by the truncator until pass returns
}

func newRow(t *testing.T, segments int) *row {
	t.Helper()
	dir, r := t.TempDir(), &row{set: liveset.New(func() {})}
	var files segfile.Files
	for i := range uint64(segments) + 1 {
		file := segfile.New(dir, i+1, &files, hclog.NewNullLogger())
		if err := os.WriteFile(file.Path, bytes.Repeat([]byte{1}, 8<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		if i == uint64(segments) {
			r.set.Begin(liveset.NewSegment(file))
			break
		}
		r.paths = append(r.paths, file.Path)
		r.set.Load(file, map[string]segment.Span{"s": {First: 1 + 10*i, Next: 11 + 10*i}}, false)
	}
	r.truncator = truncate.New(truncate.Options{
		Segments: r.set, Logger: hclog.NewNullLogger(), Closing: make(chan struct{}),
		Needs: func(_ string, run segment.Run) bool { return r.low.Load() < run.Next && run.First < r.high.Load() },
		Unlink: func(path string) error {
			if r.broken.Load() {
				return errors.New("the disk rejects it")
			}
			r.unlinks++
			return os.Remove(path)
		},
		Keep: func(*liveset.Segment) bool { return r.keep.Load() },
		Surplus: func() []*liveset.Segment {
			return r.set.Release(r.wanted.Swap(0), func(*liveset.Segment) bool { return !r.keep.Load() })
		},
		SyncFolder: func() error { r.syncs.Add(1); return nil },
		Found:      func() {}, Freed: func() { r.step, r.unlinks = max(r.step, r.unlinks), 0 }, Searched: func() {},
	})
	r.high.Store(segment.NoEnd)
	r.truncator.FindMarker(dir)
	go r.truncator.Run()
	t.Cleanup(r.truncator.Finish)
	return r
}

// search returns when a pass has searched for segments that are settled below the offset.
func (r *row) search(low uint64) {
	r.low.Store(low)
	r.truncator.Checkpointed()
	r.truncator.AwaitPass()
}

// left returns how many of the segments' files there are, and expects them to be the last ones.
func (r *row) left(t *testing.T) (n int) {
	t.Helper()
	for _, path := range r.paths {
		switch _, err := os.Stat(path); {
		case err == nil:
			n++
		case n > 0:
			t.Errorf("%s is gone, and an older segment is not", path)
		}
	}
	return n
}

// A segment is unlinked once every one of its events is below the offset that a destination needs, and not before.
func TestTruncator_UnlinksSettledSegmentsOnly(t *testing.T) {
	r := newRow(t, 4)
	for _, test := range []struct {
		low  uint64
		left int
	}{{1, 4}, {10, 4}, {11, 3}, {30, 2}, {41, 0}} {
		r.search(test.low)
		if got := r.left(t); got != test.left {
			t.Errorf("got %d segments left with offset %d needed, want %d", got, test.low, test.left)
		}
	}
	if got := r.set.Use().Sealed; got != 0 {
		t.Errorf("got %d bytes in use, want none", got)
	}
}

// A segment that begins where the offsets end that a destination needs is unlinked, and earlier ones stay.
func TestTruncator_UnlinksBehindNeededSegments(t *testing.T) {
	r := newRow(t, 6)
	r.high.Store(31)
	r.search(11)
	for i, path := range r.paths {
		_, err := os.Stat(path)
		if there := err == nil; there != (i == 1 || i == 2) {
			t.Errorf("segment %d: got there %v", i+1, there)
		}
	}
}

// A pass has a bound, so that a Sync waits for few unlinks; the passes after it unlink the rest.
func TestTruncator_UnlinksManySegmentsInSteps(t *testing.T) {
	r := newRow(t, 100)
	r.search(2000)
	for range 4 {
		r.truncator.AwaitPass()
	}
	if got := r.left(t); got != 0 || r.step > 32 {
		t.Errorf("got %d segments left, and up to %d unlinks in a step, want none left by up to 32", got, r.step)
	}
	if got := r.syncs.Load(); got != 1 {
		t.Errorf("got %d syncs of the folder, want 1", got)
	}
}

// The bytes of a segment whose unlink failed count as in use until a retry succeeds.
func TestTruncator_RetriesAFailedUnlink(t *testing.T) {
	r := newRow(t, 2)
	before := r.set.Use().Sealed
	r.broken.Store(true)
	r.search(21)
	if got := r.set.Use(); got.Sealed != before || got.Segments != 1 {
		t.Errorf("got %d bytes in %d segments after failed unlinks, want %d in 1", got.Sealed, got.Segments, before)
	}
	r.broken.Store(false)
	r.truncator.RetryFailed()
	r.truncator.AwaitPass()
	if got := r.set.Use().Sealed; got != 0 || r.left(t) != 0 {
		t.Errorf("got %d bytes in use and %d files after the retry, want none", got, r.left(t))
	}
}

// A search during a hold removes nothing. The one that SearchLater requests after it does.
func TestTruncator_LeavesHeldSegments(t *testing.T) {
	r := newRow(t, 2)
	release := r.set.Hold()
	r.search(21)
	if got := r.left(t); got != 2 {
		t.Errorf("got %d segments left during a hold, want 2", got)
	}
	release()
	r.truncator.SearchLater()
	if !r.truncator.TakeSearch() || r.truncator.TakeSearch() {
		t.Error("the search is not taken once")
	}
	r.search(21)
	if got := r.left(t); got != 0 {
		t.Errorf("got %d segments left after the hold, want none", got)
	}
}

// Settled segments that are retained stay, the oldest go first when their bytes are wanted, and all go once they are not
// retained any more.
func TestTruncator_KeepsRetainedSegments(t *testing.T) {
	r := newRow(t, 5)
	r.keep.Store(true)
	all := r.set.Use().Sealed
	r.search(31)
	if got := r.set.Use(); r.left(t) != 5 || got.Sealed != all/5*2 || got.Retained != all/5*3 || got.Segments != 3 {
		t.Errorf("got %+v and %d files, want 3 of 5 segments retained", got, r.left(t))
	}
	if seg, _ := r.set.Find("s", 1); seg == nil || seg.Seq != 4 {
		t.Error("a retained segment is found where shippers read")
	}
	if seg, _ := r.set.FindAny("s", 15); seg == nil || seg.Seq != 2 {
		t.Error("a retained segment is not found")
	}
	r.wanted.Store(1)
	r.truncator.Release()
	if got := r.set.Use().Retained; got != all/5*2 || r.left(t) != 4 {
		t.Errorf("got %d bytes retained and %d files after one byte was wanted, want one segment less", got, r.left(t))
	}
	r.keep.Store(false)
	r.truncator.Trim()
	r.truncator.AwaitPass()
	if got := r.set.Use(); got.Retained != 0 || got.Sealed != all/5*2 || r.left(t) != 2 {
		t.Errorf("got %+v and %d files, want none retained", got, r.left(t))
	}
}

// The bytes of a retained segment count as free until its unlink fails, and as in use from then on.
func TestTruncator_CountsARetainedSegmentWhoseUnlinkFails(t *testing.T) {
	r := newRow(t, 2)
	r.keep.Store(true)
	all := r.set.Use().Sealed
	r.search(21)
	r.broken.Store(true)
	r.wanted.Store(1)
	r.truncator.Release()
	if got := r.set.Use(); got.Sealed != all/2 || got.Retained != all/2 {
		t.Errorf("got %+v, want half in use and half retained", got)
	}
	r.broken.Store(false)
	r.truncator.RetryFailed()
	r.truncator.AwaitPass()
	if got := r.set.Use(); got.Sealed != 0 || got.Retained != all/2 || r.left(t) != 1 {
		t.Errorf("got %+v and %d files after the retry, want one segment retained", got, r.left(t))
	}
}
