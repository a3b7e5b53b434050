package commit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/commit"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/roll"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
	"github.com/standpipe/standpipe/wal/internal/truncate"
)

// stream is the end of a stream, and the streams of a log that has only this one.
type stream struct{ next, bytes atomic.Uint64 }

func (s *stream) Pin(string) commit.Stream             { return s }
func (s *stream) NewBytes(string) int64                { return 0 }
func (s *stream) Needs(_ string, run segment.Run) bool { return run.Next > 1 }
func (s *stream) Name() string                         { return "s" }
func (s *stream) Unpin()                               {}
func (s *stream) End() (next, bytes uint64)            { return s.next.Load(), s.bytes.Load() }
func (s *stream) Grow(next, bytes uint64)              { s.next.Store(next); s.bytes.Store(bytes) }

// entry is the entry of a cursor, and the cursors of a log that has only this one.
type entry struct {
	key, value   []byte
	moved        bool         // it is to be written
	stored, lost atomic.Int64 // calls of Committed and Failed
}

func (e *entry) Next() commit.Entry {
	e.moved = false
	return e
}
func (e *entry) End() uint64      { return 1 }
func (e *entry) Done(uint64) bool { return !e.moved }
func (e *entry) Empty() bool      { return !e.moved }
func (e *entry) Key() []byte      { return e.key }
func (e *entry) Value() []byte    { return e.value }
func (e *entry) Committed()       { e.stored.Add(1) }
func (e *entry) Failed()          { e.lost.Add(1) }

// unbounded are budgets without a limit. They count the bytes that batches hold.
type unbounded struct{ held atomic.Int64 }

func (u *unbounded) Reserve(_ context.Context, r *commit.Reservation) error {
	u.held.Add(r.Bytes)
	return nil
}

func (u *unbounded) Release(r *commit.Reservation, _ segment.Run, _ bool) { u.held.Add(-r.Bytes) }

// log is a Committer with one segment, one stream and one cursor. Run is not called: Sync is not answered, and a batch is
// committed by the caller of Wait.
type log struct {
	*commit.Committer
	set     *liveset.Set
	stream  *stream
	cursor  *entry
	budgets *unbounded
	failure atomic.Pointer[error]
	before  atomic.Pointer[error] // the error of the next commits before anything is written; nil: none
}

func newLog(t *testing.T) *log {
	t.Helper()
	dir, files, logger := t.TempDir(), new(segfile.Files), hclog.NewNullLogger()
	l := &log{set: liveset.New(func() {}), stream: new(stream), cursor: new(entry), budgets: new(unbounded)}
	l.stream.next.Store(1)
	l.cursor.key, l.cursor.value = segment.StateKey(segment.StateCursor, "s", "d"), []byte("progress")
	fail := func(err error) { l.failure.Store(&err) }
	space := capacity.New(capacity.Options{
		Dir: dir, MaxSize: 64 << 20, LeastSize: 1 << 20, SegmentSize: 1 << 20, LargestCommit: commit.LargestCommit,
		Segments: l.set, Logger: logger, Clock: time.Now,
	})
	begin := func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket(segment.BucketBlocks)
		_, err2 := tx.CreateBucketIfNotExists(segment.BucketState)
		return errors.Join(err, err2)
	}
	roller := roll.New(roll.Options{
		Dir: dir, SegmentSize: 1 << 20, Segments: l.set, Capacity: space, Files: files, Logger: logger, Fail: fail,
		SyncFolder: func() error { return nil },
		PutMeta:    func(tx *bolt.Tx, seq uint64) error { return segment.PutMeta(tx, "log", seq, 0) },
	})
	go roller.Run()
	closing := make(chan struct{})
	truncator := truncate.New(truncate.Options{
		Segments: l.set, Logger: logger, Closing: closing, Needs: l.stream.Needs, Unlink: func(string) error { return nil },
		Keep: func(*liveset.Segment) bool { return false }, Surplus: func() []*liveset.Segment { return nil },
		SyncFolder: func() error { return nil }, Found: func() {}, Freed: func() {}, Searched: func() {},
	})
	l.Committer = commit.New(commit.Options{
		Segments: l.set, Capacity: space, Roller: roller, Truncator: truncator, Streams: l.stream, Cursors: l.cursor, Budgets: l.budgets,
		OnFull: func() bounds.OnFull { return bounds.Reject }, ProducerIdle: time.Hour, Logger: logger, Clock: time.Now,
		ClockEvenFor: func(time.Duration) bool { return false }, Closing: closing,
		Failed: func() error {
			if err := l.failure.Load(); err != nil {
				return *err
			}
			return nil
		},
		Fail: fail, BeginState: begin, DropOldest: func() {},
		BeforeCommit: func() error {
			if err := l.before.Load(); err != nil {
				return *err
			}
			return nil
		},
	})
	first, err := roller.Create(1, begin)
	if err != nil {
		t.Fatal(err)
	}
	l.set.Begin(first)
	t.Cleanup(func() {
		roller.Finish()
		if err := l.set.CloseForGood(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// append submits one event and commits it.
func (l *log) append(t *testing.T, b commit.Batch) (commit.Appended, error) {
	t.Helper()
	b.Stream = "s"
	if b.Events == nil {
		b.Events = []segment.Event{{Key: "k", Data: []byte("data")}}
	}
	ticket, err := l.Submit(t.Context(), &b, true)
	if err != nil {
		return commit.Appended{}, err
	}
	return ticket.Wait(t.Context())
}

// stored returns the value of the cursor's entry on the disk, which ends with its checksum.
func (l *log) stored(t *testing.T) (value []byte) {
	t.Helper()
	err := l.set.Newest().View(func(r segment.Reader) error {
		value = bytes.Clone(segment.ValueOf(r.Bucket(segment.BucketState), l.cursor.key))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// Offsets have no gaps, and a repeated batch of a producer is stored once.
func TestCommitter_StoresBatches(t *testing.T) {
	l := newLog(t)
	for i := range uint64(5) {
		b := commit.Batch{ProducerID: "p", ProducerSequence: i + 1}
		if a, err := l.append(t, b); err != nil || a.First != i+1 || a.Duplicate {
			t.Fatalf("got %+v, %v for batch %d", a, err, i+1)
		}
		if a, err := l.append(t, b); err != nil || a.First != i+1 || !a.Duplicate {
			t.Errorf("got %+v, %v for batch %d again", a, err, i+1)
		}
	}
	if next, payload := l.stream.End(); next != 6 || payload != 20 {
		t.Errorf("got the end %d with %d bytes, want 6 with 20", next, payload)
	}
	if _, sp := l.set.Find("s", 0); sp.First != 1 || sp.Next != 6 {
		t.Errorf("got the span %v, want [1, 6)", sp)
	}
	if got := l.budgets.held.Load(); got != 0 {
		t.Errorf("got %d bytes of budgets held after all, want none", got)
	}
}

// A shortage before anything is written rejects the batch, and the committer goes on. Any other error is final.
func TestCommitter_GoesOnAfterAShortageOnly(t *testing.T) {
	l := newLog(t)
	var shortage error = &segfile.CommitError{Err: syscall.ENOSPC, Harmless: true}
	l.before.Store(&shortage)
	if _, err := l.append(t, commit.Batch{}); !errors.Is(err, commit.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	l.before.Store(nil)
	if a, err := l.append(t, commit.Batch{}); err != nil || a.First != 1 {
		t.Errorf("got %+v, %v after the shortage", a, err)
	}
	broken := fmt.Errorf("the disk is broken")
	l.before.Store(&broken)
	if _, err := l.append(t, commit.Batch{}); err == nil {
		t.Error("a broken commit succeeds")
	}
	l.before.Store(nil)
	if _, err := l.append(t, commit.Batch{}); err == nil || l.budgets.held.Load() != 0 {
		t.Errorf("got %v after a failure, %d bytes of budgets held", err, l.budgets.held.Load())
	}
}

// After an append of a chain that is not stored, no later one of the chain is.
func TestCommitter_KeepsAChainTogether(t *testing.T) {
	l, chain := newLog(t), new(commit.Chain)
	gap := commit.Batch{ProducerID: "p", ProducerSequence: 5, Chain: chain}
	if _, err := l.append(t, commit.Batch{ProducerID: "p", ProducerSequence: 1, Chain: chain}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.append(t, gap); err == nil {
		t.Error("a gap in the sequence is stored")
	}
	if _, err := l.append(t, commit.Batch{Chain: chain}); !errors.Is(err, commit.ErrChainBroken) {
		t.Errorf("got %v, want ErrChainBroken", err)
	}
	if a, err := l.append(t, commit.Batch{}); err != nil || a.First != 2 {
		t.Errorf("got %+v, %v without the chain", a, err)
	}
}

// checkpoint commits the cursor.
func (l *log) checkpoint(t *testing.T) error {
	t.Helper()
	l.cursor.moved = true
	if _, err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	_, err := l.append(t, commit.Batch{})
	return err
}

// A commit that is rejected leaves the cursors to a later one.
func TestCheckpoint_OfARejectedCommitIsTriedAgain(t *testing.T) {
	l := newLog(t)
	var shortage error = &segfile.CommitError{Err: syscall.ENOSPC, Harmless: true}
	l.before.Store(&shortage)
	if err := l.checkpoint(t); !errors.Is(err, commit.ErrFull) || l.cursor.lost.Load() != 1 {
		t.Errorf("got %v, %d notices, want ErrFull and one", err, l.cursor.lost.Load())
	}
	if got := l.stored(t); got != nil {
		t.Errorf("got %q on the disk, want nothing", got)
	}
	l.before.Store(nil)
	if err := l.checkpoint(t); err != nil {
		t.Fatal(err)
	}
	if got := l.stored(t); !bytes.HasPrefix(got, l.cursor.value) || l.cursor.stored.Load() != 1 {
		t.Errorf("got %q on the disk, %d notices", got, l.cursor.stored.Load())
	}
}
