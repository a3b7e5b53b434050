package wal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// The settlement of events during the write of a checkpoint is not on disk with that checkpoint, so no segment may be
// removed because of it.
func TestCheckpoint_CountsWhatIsOnTheDiskAlone(t *testing.T) {
	dir := t.TempDir()
	var during atomic.Pointer[func()]
	o := wal.Options{Dir: dir, SegmentSize: 64 << 10}
	l := open(t, o.WithFaults(nil, func() error {
		if f := during.Swap(nil); f != nil {
			(*f)()
		}
		return nil
	}))
	p := appendUntil(t, l, 4)
	all := p.Stat().Pending
	settle := func() { settleTo(t, p, l.Next("s"), wal.Ledger{Delivered: wal.Count{Events: all.Events - 1}}) }
	during.Store(&settle)
	settleTo(t, p, 2, wal.Ledger{Delivered: wal.Count{Events: 1}})
	sync(t, l)
	crashed := t.TempDir()
	copyDir(t, crashed, dir)
	l2 := open(t, wal.Options{Dir: crashed, SegmentSize: 64 << 10})
	st := l2.Cursors("s")[0].Stat()
	held := uint64(len(readAll(t, l2, "s", st.Checkpoint, wal.AllLanes)))
	if len(st.Dropped) > 0 || st.Pending.Events != held {
		t.Errorf("got %+v after a crash, with %d events that can be read", st, held)
	}
}

// A checkpoint that found no space is written again without a Sync or another settlement.
func TestCheckpoint_ThatFoundNoSpaceIsDueAgain(t *testing.T) {
	short, commits := atomic.Bool{}, atomic.Int32{}
	l := open(t, wal.Options{Dir: t.TempDir()}.WithFaults(func() error {
		commits.Add(1)
		if short.CompareAndSwap(true, false) {
			return wal.ErrNoSpace
		}
		return nil
	}, nil))
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	appendOne(t, l, "s", "k", "x")
	sync(t, l)
	before := commits.Load()
	short.Store(true)
	settleTo(t, p, 2, wal.Ledger{Delivered: wal.Count{Events: 1, Bytes: 1}})
	testkit.Eventually(t, 10*time.Second, func() error {
		if n := commits.Load() - before; n < 2 {
			return fmt.Errorf("%d checkpoints, want the one that found no space and another", n)
		}
		return nil
	})
}

// A segment that is settled and unlinked while it is being copied does not reappear under its name.
func TestCompaction_BringsNoTruncatedSegmentBack(t *testing.T) {
	dir := t.TempDir()
	var l *wal.Log
	var s *live
	copied := 0
	l = open(t, wal.Options{Dir: dir, SegmentSize: 256 << 10, MaxSize: 32 << 20}.Rewriting().WithCompactStep(func(step string) {
		if step != "copied" {
			return
		}
		copied++
		settleTo(t, s.place, l.Next("s"), wal.Ledger{Delivered: s.place.Stat().Pending})
		sync(t, l)
	}))
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	lane := wal.LaneOf("k0")
	s = &live{place: p, stuck: func(e *wal.Event) bool { return e.Lane == lane }}
	for i := 0; l.Stat().Segments < 5; i++ {
		appendOne(t, l, "s", fmt.Sprint("k", i%20), strings.Repeat("x", 1000))
	}
	sealed := inspectLog(t, dir).Segments[:4]
	s.deliver(t, l)
	rewritten(t, l)
	if copied == 0 {
		t.Fatal("nothing was copied; nothing is tested")
	}
	for _, seg := range sealed {
		if _, err := os.Stat(filepath.Join(dir, seg.Name)); err == nil {
			t.Errorf("%s, of which all is settled, is there", seg.Name)
		}
	}
}

// The name of a segment that was set aside is not used again, even if the name of that file is the only trace of the
// segment.
func TestSetAside_NamesAreNotUsedAgain(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir, SegmentSize: 64 << 10})
	appendUntil(t, l, 4)
	next := l.Next("s")
	must(t, l.Close())
	files, err := filepath.Glob(filepath.Join(dir, "wal", "*.seg"))
	must(t, err)
	newest := files[len(files)-1]
	for _, path := range files[len(files)-2:] {
		must(t, os.Rename(path, path+".corrupt"))
	}
	begun, err := filepath.Glob(filepath.Join(dir, "wal", "*.begun"))
	must(t, err)
	for _, path := range begun {
		must(t, os.Remove(path))
	}
	unfinished := filepath.Join(dir, "wal", "0000000000000099.seg.new")
	must(t, os.WriteFile(unfinished, make([]byte, 1<<16), 0o600))
	l = open(t, wal.Options{Dir: dir, SegmentSize: 64 << 10})
	if got := appendOne(t, l, "s", "k", "x").First; got < next {
		t.Errorf("got offset %d, offsets up to %d were given out", got, next-1)
	}
	if _, err := os.Stat(newest); err == nil {
		t.Errorf("%s is there again", newest)
	}
	if _, err := os.Stat(unfinished); err == nil {
		t.Errorf("%s, which a crash left half made, is there still", unfinished)
	}
}

// The folder names the newest segment that has begun, so that its absence is detected.
func TestRoll_NamesTheNewestSegmentThatHasBegun(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir, SegmentSize: 64 << 10})
	appendUntil(t, l, 4)
	appendOne(t, l, "s", "k", "x") // begins the newest
	in := inspectLog(t, dir)
	want := uint64(0)
	for _, s := range in.Segments {
		if len(s.Streams) > 0 {
			want = max(want, s.Seq)
		}
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		if _, err := os.Stat(filepath.Join(dir, "wal", fmt.Sprintf("%016d.begun", want))); err != nil {
			return err
		}
		return nil
	})
}

// After the loss of the newest segment, a new stream begins beyond the offsets that the lost segment may have given
// out. This still holds after every later restart, and also if the next segment had been made ready.
func TestRoll_LossOfTheNewestMovesWhereNewStreamsBegin(t *testing.T) {
	tried := 0
	for _, c := range crashesOfRolls(t) {
		if !strings.HasSuffix(states(t, c.dir), "active ready") {
			continue
		}
		in := inspectLog(t, c.dir)
		if len(in.Segments) < 3 {
			continue
		}
		must(t, os.Remove(filepath.Join(c.dir, in.Segments[len(in.Segments)-2].Name)))
		tried++
		l, err := wal.Open(t.Context(), rollOptions(c.dir))
		must(t, err)
		must(t, l.Close())
		l, err = wal.Open(t.Context(), rollOptions(c.dir))
		must(t, err)
		if got := appendOne(t, l, "new", "k", "x").First; got < 1000 {
			t.Errorf("a new stream begins at %d; the lost segment may have had more events of it", got)
		}
		must(t, l.Close())
	}
	if tried == 0 {
		t.Error("no segment was made ready")
	}
}

// A restored copy may have a sealed segment from another history of the same log. Open sets that segment aside if it
// overlaps a later one.
func TestOpen_SetsAsideASegmentThatOverlapsALaterOne(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	l := open(t, rollOptions(a))
	for range 2 {
		appendOne(t, l, "s", "k", "x")
	}
	must(t, l.Close())
	copyDir(t, b, a)
	grow := func(dir string, n int) (first string) {
		l := open(t, rollOptions(dir))
		for range n {
			appendOne(t, l, "s", "k", strings.Repeat("x", 100))
		}
		for range 8 {
			appendOne(t, l, "s", "k", rollText(1))
		}
		must(t, l.Close())
		return filepath.Join(dir, inspectLog(t, dir).Segments[0].Name)
	}
	into, from := grow(a, 1), grow(b, 100)
	text, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(into, text, 0o600))
	open(t, rollOptions(a))
	if aside, _ := filepath.Glob(into + ".corrupt*"); len(aside) != 1 {
		t.Errorf("got %q set aside, want the segment that overlaps", aside)
	}
}

// Events that were lost with a damaged segment count as not delivered, even if the rest of their lanes was delivered.
func TestWaitSettled_OfWhatWasDamaged(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir, SegmentSize: 64 << 10})
	appendUntil(t, l, 4)
	sync(t, l)
	must(t, l.Close())
	files, err := filepath.Glob(filepath.Join(dir, "wal", "*.seg"))
	must(t, err)
	overwrite(t, files[0], 0, make([]byte, 8192))
	l = open(t, wal.Options{Dir: dir, SegmentSize: 64 << 10})
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	if p.Stat().Dropped[wal.DroppedCorrupt].Events == 0 {
		t.Fatal("nothing was lost; nothing is tested")
	}
	settleTo(t, p, l.Next("s"), wal.Ledger{Delivered: p.Stat().Pending})
	wantSettled(t, l, wal.Appended{First: 1, Count: 1, Duplicate: true}, false)
}

// A destination that ships again before the log has counted its events drops them itself.
func TestParkedDestination_ThatShipsAgainIsLeftAlone(t *testing.T) {
	var l *wal.Log
	counted := make(chan struct{}, 100)
	o := wal.Options{Dir: t.TempDir()}.WithParkedStep(func() {
		if len(counted) == 0 {
			_, err := l.OpenCursor("small", "d")
			must(t, err)
		}
		counted <- struct{}{}
	})
	l = open(t, o)
	l.SetPolicy(share(100_000, wal.DropOldest))
	p, err := l.OpenCursor("small", "d")
	must(t, err)
	_, err = l.Append(t.Context(), kilo(10))
	must(t, err)
	p.Close()
	go func() { // waits for space, which the destination should free
		for range 13 {
			if _, err := l.Append(t.Context(), kilo(10)); err != nil {
				return
			}
		}
	}()
	<-counted
	testkit.Eventually(t, 10*time.Second, func() error {
		if p.Floor().Offset() == 0 {
			return errors.New("no floor")
		}
		return nil
	})
	time.Sleep(50 * time.Millisecond) // enough time for a wrong drop
	if st := p.Stat(); len(st.Dropped) > 0 {
		t.Errorf("got %+v; the log dropped for a destination that ships", st)
	}
}
