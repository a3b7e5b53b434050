package capacity_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// log is the segments of a log, which have files of some bytes and no bbolt, and their capacity.
type log struct {
	*capacity.Capacity
	t     *testing.T
	files segfile.Files
	seq   uint64
}

func newLog(t *testing.T, maxSize, segmentSize int64) *log {
	t.Helper()
	l := &log{t: t, Capacity: capacity.New(capacity.Options{
		Dir: t.TempDir(), MaxSize: maxSize, LeastSize: 1 << 20, SegmentSize: segmentSize, LargestCommit: 72 << 20,
		Segments: liveset.New(func() {}), Logger: hclog.NewNullLogger(), Clock: time.Now,
	})}
	return l
}

func (l *log) file(length int64) *segfile.File {
	l.t.Helper()
	l.seq++
	file := segfile.New(l.Dir, l.seq, &l.files, hclog.NewNullLogger())
	f, err := os.Create(file.Path)
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	if err := disk.Lengthen(f, length); err != nil {
		l.t.Fatal(err)
	}
	if length == 0 {
		return file
	}
	if err := disk.Uninterrupted(func() error { return disk.Allocate(f, 0, length) }); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		l.t.Fatal(err)
	}
	return file
}

// begin adds a newest segment without events. If it is preallocated, its first commit writes the state.
func (l *log) begin(preallocated bool) {
	newest := liveset.NewSegment(l.file(0))
	if preallocated {
		l.Segments.SetNext(newest)
		l.Segments.RemoveNext()
	}
	l.Segments.Begin(newest)
}

// For any size of the log, and with the largest state: an empty log has room for the largest append, the state in the
// next segment, a checkpoint and the dead letters.
func TestCapacity_LargestAppendFitsBesideTheLargestState(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		maxSize := int64(1<<20) << r.IntN(7)
		maxSize += r.Int64N(maxSize)
		l := newLog(t, maxSize, max(4<<10, maxSize/int64(4+r.IntN(60))))
		l.begin(true)
		l.StateBytes.Store(l.MostState())
		l.CursorBytes.Store(r.Int64N(l.MostState() / 2))
		free := l.SpaceOfMax()
		if free < l.LargestAppend() {
			t.Errorf("MaxSize %d, SegmentSize %d: got %d bytes free with %d of state, want %d", maxSize, l.SegmentSize, free, l.StateBytes.Load(), l.LargestAppend())
		}
		all := l.BytesToBegin() + free + l.Reserve(l.Segments.Newest()) + l.BytesToBegin() + max(l.Dead(), min(maxSize/16, 4<<20))
		if all > maxSize {
			t.Errorf("MaxSize %d: %d bytes when all free ones are used", maxSize, all)
		}
	}
}

// Each byte that something else takes is a byte less for appends.
func TestCapacity_EveryOwnerOfBytesTakesThemFromAppends(t *testing.T) {
	const maxSize = 16 << 20
	l := newLog(t, maxSize, 1<<20)
	l.Segments.Load(l.file(2<<20), map[string]segment.Span{"s": {First: 1, Next: 9}}, false)
	l.begin(false)
	before := l.SpaceOfMax()
	took := func(what string, want int64) {
		t.Helper()
		after := l.SpaceOfMax()
		if got := before - after; got != want {
			t.Errorf("%s: got %d bytes less, want %d", what, got, want)
		}
		before = after
	}
	next := liveset.NewSegment(l.file(1 << 20))
	l.Segments.SetNext(next)
	took("the next segment, beyond the bytes that are reserved for it", next.Disk()-l.BytesToBegin())
	if !l.HoldCopy(3 << 20) {
		t.Fatal("no room for a copy")
	}
	took("a copy, beyond the bytes that are reserved for it", 3<<20-min(l.SegmentSize*3/4, maxSize/20))
	l.EndCopy()
	before = l.SpaceOfMax()
	if !l.GrowDead(2<<20) || l.Dead() != 2<<20 {
		t.Fatal("no room for dead letters")
	}
	took("dead letters, beyond the bytes that are reserved for them", 2<<20-maxSize/16)
	l.Carry.Set(1 << 20)
	took("the part of the state that the newest segment lacks", l.Carry.Bytes())
	if l.Carry.Bytes() < 1<<20 {
		t.Errorf("got %d bytes for 1 MiB of the state", l.Carry.Bytes())
	}
}

// Dead letters take free bytes only; fewer bytes are always granted.
func TestCapacity_DeadLettersTakeFreeBytesOnly(t *testing.T) {
	l := newLog(t, 4<<20, 1<<20)
	l.Segments.Load(l.file(3<<20), map[string]segment.Span{"s": {First: 1, Next: 9}}, false)
	l.begin(false)
	if l.GrowDead(2<<20) || l.Dead() != 0 {
		t.Errorf("got %d bytes for dead letters in a full log, want none", l.Dead())
	}
	if !l.ShrinkDead(256<<10) || l.ShrinkDead(257<<10) {
		t.Error("the reserved bytes are granted, and no more")
	}
	if l.SetDead(1 << 30); l.Dead() != l.MaxDead() {
		t.Errorf("got %d bytes of a file over its limit, want %d", l.Dead(), l.MaxDead())
	}
}

// A copy that is larger than the bytes that are reserved for copies waits until the log has free bytes.
func TestCapacity_RejectsALargeCopyInAFullLog(t *testing.T) {
	l := newLog(t, 4<<20, 1<<20)
	l.Segments.Load(l.file(3<<20), map[string]segment.Span{"s": {First: 1, Next: 9}}, false)
	l.begin(false)
	before := l.SpaceOfMax()
	if l.HoldCopy(900 << 10) {
		t.Error("a large copy is admitted")
	}
	if got := l.SpaceOfMax(); got != before {
		t.Errorf("got %d bytes free after a rejected copy, want %d", got, before)
	}
	if !l.HoldCopy(100 << 10) {
		t.Error("a copy within the reserved bytes is rejected")
	}
}

// A log that was full stays so while it has few free bytes, and for a second after the last rejection.
func TestCapacity_StaysFullForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, 16<<20, 1<<20)
		l.begin(false)
		if l.Full() {
			t.Error("an empty log is full")
		}
		l.NoteFull()
		time.Sleep(capacity.RetryAfter - time.Millisecond)
		if !l.Full() || !l.NotedFull() {
			t.Error("not full in the second after a rejection")
		}
		time.Sleep(time.Millisecond)
		if l.Full() || l.NotedFull() {
			t.Error("full a second after the last rejection")
		}
	})
}

// New names are rejected for a minute after the last rejection, by the report; the log line comes once.
func TestCapacity_ReportsRejectedNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, 16<<20, 1<<20)
		if l.StateFull(time.Now()) {
			t.Error("rejections without a rejection")
		}
		l.NoteStateFull(errors.New("no room"), 1, 1)
		time.Sleep(time.Minute - time.Millisecond)
		if l.EndStateFull(time.Now()); !l.StateFull(time.Now()) {
			t.Error("no rejection reported within a minute")
		}
		time.Sleep(time.Millisecond)
		if l.EndStateFull(time.Now()); l.StateFull(time.Now()) {
			t.Error("a rejection is reported after a minute")
		}
	})
}
