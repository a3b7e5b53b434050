package roll_test

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/roll"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// log is a Roller with its segments: one, which has begun.
type log struct {
	*roll.Roller
	set      *liveset.Set
	capacity *capacity.Capacity
	dir      string
	files    segfile.Files
	finished sync.Once
}

func begin(tx *bolt.Tx) error {
	if _, err := tx.CreateBucket(segment.BucketBlocks); err != nil {
		return err
	}
	_, err := tx.CreateBucket(segment.BucketState)
	return err
}

func newLog(t *testing.T, maxSize int64) *log {
	t.Helper()
	l := newLogIn(t, t.TempDir(), maxSize)
	first, err := l.Create(1, begin)
	if err != nil {
		t.Fatal(err)
	}
	l.set.Begin(first)
	return l
}

// newLogIn returns a Roller without segments.
func newLogIn(t *testing.T, dir string, maxSize int64) *log {
	t.Helper()
	l := &log{set: liveset.New(func() {}), dir: dir}
	l.capacity = capacity.New(capacity.Options{
		Dir: dir, MaxSize: maxSize, LeastSize: 1 << 20, SegmentSize: 256 << 10, LargestCommit: 1 << 20,
		Segments: l.set, Logger: hclog.NewNullLogger(), Clock: time.Now,
	})
	l.Roller = roll.New(roll.Options{
		Dir: dir, SegmentSize: 256 << 10, Segments: l.set, Capacity: l.capacity, Files: &l.files, Logger: hclog.NewNullLogger(),
		SyncFolder: func() error { return nil },
		PutMeta:    func(tx *bolt.Tx, seq uint64) error { return segment.PutMeta(tx, "log", seq, 0) },
		Fail:       func(err error) { t.Errorf("the log has failed: %v", err) },
	})
	go l.Run()
	t.Cleanup(func() {
		l.finish()
		if err := l.set.CloseForGood(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// finish returns when all segments that were requested are made.
func (l *log) finish() { l.finished.Do(l.Finish) }

func (l *log) file(seq uint64) *segfile.File {
	return segfile.New(l.dir, seq, &l.files, hclog.NewNullLogger())
}

// The next segment is requested when the newest is half full, and follows it when it is full.
func TestRoller_RequestsTheNextSegmentEarly(t *testing.T) {
	l := newLog(t, 64<<20)
	first, full := l.set.Newest(), l.capacity.FullSegment()
	for _, used := range []int64{0, full/2 - 1, full / 2, full - 1} {
		if next, err := l.Successor(first, used); next != nil || err != nil {
			t.Fatalf("got %v, %v with %d of %d bytes", next, err, used, full)
		}
		if used < full/2 && l.set.Next() != nil {
			t.Errorf("the next segment is made at %d of %d bytes", used, full)
		}
	}
	next, err := l.Successor(first, full)
	if err != nil || next == nil || next.Seq != 2 || !next.Preallocated() || l.set.Next() != next {
		t.Fatalf("got %v, %v for a full segment", next, err)
	}
	l.Roll(first, next)
	if l.set.Newest() != next || l.set.Next() != nil {
		t.Error("the next segment is not the newest after the roll")
	}
	if again, err := l.Successor(next, full); again != nil || err != nil {
		t.Errorf("got %v, %v for a segment that has not begun", again, err)
	}
}

// The newest segment grows while there are too few bytes for the one after it.
func TestRoller_LetsTheNewestGrowInAFullLog(t *testing.T) {
	l := newLog(t, 1<<20)
	l.capacity.StateBytes.Store(800 << 10)
	next, err := l.Successor(l.set.Newest(), 2<<20)
	if l.finish(); next != nil || err != nil || l.set.Next() != nil {
		t.Errorf("got %v, %v in a full log, next %v, want none", next, err, l.set.Next())
	}
}

// Renew seals a short segment, which can be read as a sealed one.
func TestRoller_RenewsAShortSegment(t *testing.T) {
	l := newLog(t, 64<<20)
	first := l.set.Newest()
	if !l.Renew(first) {
		t.Fatal("not renewed")
	}
	next := l.set.Newest()
	if next.Seq != 2 || l.set.Use().Sealed == 0 {
		t.Errorf("got segment %d as the newest, %d bytes sealed", next.Seq, l.set.Use().Sealed)
	}
	if err := next.Update(begin); err != nil {
		t.Fatal(err)
	}
	if err := segment.CheckPages(first.Path); err != nil {
		t.Error(err)
	}
}

// The next segment is removed when the log closes. After a failure it stays: the newest may be sealed.
func TestRoller_RemovesTheNextSegmentAtTheEnd(t *testing.T) {
	for _, failed := range []bool{false, true} {
		l := newLog(t, 64<<20)
		l.RemoveNext(failed) // there is none
		full := l.capacity.FullSegment()
		next, err := l.Successor(l.set.Newest(), full)
		if err != nil || next == nil {
			t.Fatalf("got %v, %v for a full segment", next, err)
		}
		l.RemoveNext(failed)
		if _, err := os.Stat(next.Path); (err == nil) != failed {
			t.Errorf("failed %v: got %v for the next segment's file", failed, err)
		}
	}
}

// The segment that was made ready becomes the newest, unless events were lost: then it has the wrong first offsets for
// new streams, and a new one is made. It is removed if the newest segment is whole.
func TestRoller_ResumesWithTheNewestSegment(t *testing.T) {
	for _, test := range []struct {
		name        string
		whole, lost bool
		newest      uint64
	}{
		{"whole", true, false, 1},
		{"lost without events", false, false, 2},
		{"lost", false, true, 3},
	} {
		l := newLog(t, 64<<20)
		first := l.set.Newest()
		made, err := l.Successor(first, l.capacity.FullSegment())
		if err != nil || made == nil {
			t.Fatal(err)
		}
		if err := errors.Join(first.Close(), made.Close()); err != nil {
			t.Fatal(err)
		}
		resumed := newLogIn(t, l.dir, 64<<20)
		if test.whole {
			resumed.set.Load(resumed.file(1), nil, false)
		}
		found := roll.Found{Whole: test.whole, Ready: resumed.file(2), Last: 2, Lost: test.lost}
		if err := resumed.Resume(found, begin); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got := resumed.set.Newest().Seq; got != test.newest {
			t.Errorf("%s: got segment %d as the newest, want %d", test.name, got, test.newest)
		}
		if _, err := os.Stat(made.Path); (err == nil) == test.whole {
			t.Errorf("%s: got %v for the segment that was made ready", test.name, err)
		}
	}
}

// A roll frees the bytes that were allocated ahead in the old segment: its file ends where its pages do.
func TestRoller_FreesTheBytesAllocatedAhead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is mapped cannot be cut on Windows")
	}
	l := newLog(t, 64<<20)
	first := l.set.Newest()
	next, err := l.Successor(first, l.capacity.FullSegment())
	if err != nil || next == nil {
		t.Fatalf("got %v, %v for a full segment", next, err)
	}
	if err := first.Allocate(512 << 10); err != nil {
		t.Fatal(err)
	}
	used := first.Used()
	l.Roll(first, next)
	l.finish()
	if st, err := os.Stat(first.Path); err != nil || st.Size() != used || used >= 512<<10 {
		t.Errorf("got a file of %d bytes, %v, want the %d that are in use", st.Size(), err, used)
	}
}
