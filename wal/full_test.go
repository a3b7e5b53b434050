package wal_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// steppedClock is a clock that advances only when a test sets ahead.
type steppedClock struct {
	start time.Time
	ahead atomic.Int64
}

func (c *steppedClock) now() time.Time { return c.start.Add(time.Duration(c.ahead.Load())) }

// fill appends until the log rejects an append as full, and returns the count of the stored events.
func fill(t testing.TB, l *wal.Log, stream string, size, n int) (stored wal.Count) {
	t.Helper()
	batch := &wal.Batch{Stream: stream, Events: slices.Repeat([]wal.Event{event("k", string(make([]byte, size)))}, n)}
	for range 100_000 {
		_, err := l.Append(t.Context(), batch)
		if errors.Is(err, wal.ErrFull) {
			return stored
		}
		if err != nil {
			t.Fatal(err)
		}
		stored.Add(wal.Count{Events: uint64(n), Bytes: uint64(n * size)})
	}
	t.Fatal("the log does not fill")
	return stored
}

func TestFull_SegmentsStayUnderTheMaximum(t *testing.T) {
	const max = 4 << 20
	for _, size := range []int{100, 1000, 4060, 9000, 50_000, 300_000} {
		for _, n := range []int{1, 200} {
			if n*size < 2000 || n*size > max/2 {
				continue
			}
			t.Run(fmt.Sprintf("event=%d/batch=%d", size, n), func(t *testing.T) {
				// For a second after a large append was rejected, the log is full although a small one fits.
				clock := steppedClock{start: time.Now()}
				l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: max, Clock: clock.now})
				l.OpenCursor("s", "d")
				stored := fill(t, l, "s", size, n)
				if st := l.Stat(); st.Bytes > max || occupied(t, l) > max {
					t.Errorf("got %+v, %d bytes in the folder", st, occupied(t, l))
				}
				if stored.Bytes < max/4 && n*size < max/4 {
					t.Errorf("got %d bytes stored of a maximum of %d", stored.Bytes, max)
				}
				if !l.Full() {
					t.Error("it is not full")
				}
			})
		}
	}
}

// occupied returns the disk usage of all files of the log, in bytes.
func occupied(t testing.TB, l *wal.Log) (n int64) {
	t.Helper()
	for range 100 {
		files, err := filepath.Glob(filepath.Join(l.Dir(), "*"))
		must(t, err)
		n = 0
		if !slices.ContainsFunc(files, func(file string) bool {
			disk, _, ok := wal.FileSizes(file)
			n += disk
			return !ok // renamed or unlinked meanwhile
		}) {
			return n
		}
	}
	t.Fatal("the files change each time that they are counted")
	return 0
}

func TestTooLarge_AppendIsRejectedInEveryMode(t *testing.T) {
	for _, mode := range []wal.OnFull{wal.Reject, wal.Block, wal.DropOldest} {
		l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: 1 << 20, OnFull: mode})
		_, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", string(make([]byte, 1<<20)))}})
		if !errors.Is(err, wal.ErrTooLarge) {
			t.Errorf("%s: got %v, want ErrTooLarge", mode, err)
		}
		if l.Full() {
			t.Errorf("%s: an empty log is full", mode)
		}
		if got := appendOne(t, l, "s", "k", "x"); got.First != 1 {
			t.Errorf("%s: got %+v, want offset 1", mode, got)
		}
	}
}

func TestTooLarge_BatchOfMoreThan64MiB(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir()})
	data := string(make([]byte, 1<<20))
	batch := &wal.Batch{Stream: "s"}
	for range 64 {
		batch.Events = append(batch.Events, event("k", data))
	}
	if _, err := l.Submit(t.Context(), batch); !errors.Is(err, wal.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestFull_DoesNotFlapWithEveryCheckpoint(t *testing.T) {
	clock := steppedClock{start: time.Now()}
	l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: 1 << 20, Clock: clock.now})
	p, _ := l.OpenCursor("s", "d")
	stored := fill(t, l, "s", 10_000, 1)
	clock.ahead.Store(int64(time.Minute))
	for range 5 {
		p.Settle(wal.Settlement{Add: wal.Ledger{Requests: 1}})
		sync(t, l)
		if !l.Full() {
			t.Fatal("not full any more, without room")
		}
	}
	settleAll(l, p, stored)
	sync(t, l)
	if l.Full() {
		t.Error("still full when all is settled")
	}
}

// TestFull_StaysAfterARestart: Full once returned false after a restart, until the next append was rejected.
func TestFull_StaysAfterARestart(t *testing.T) {
	o := wal.Options{Dir: t.TempDir(), MaxSize: 1 << 20}
	l := open(t, o)
	l.OpenCursor("s", "d")
	stored := fill(t, l, "s", 10_000, 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	clock := steppedClock{start: time.Now()}
	o.Clock = clock.now
	l = open(t, o)
	p, _ := l.OpenCursor("s", "d")
	clock.ahead.Store(int64(time.Minute))
	if !l.Full() {
		t.Error("not full, without room")
	}
	settleAll(l, p, stored)
	sync(t, l)
	if l.Full() {
		t.Error("still full when all is settled")
	}
}

func TestFull_BlockedAppendWaitsWithinItsDeadline(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: 1 << 20, OnFull: wal.Block})
	p, _ := l.OpenCursor("s", "d")
	batch := &wal.Batch{Stream: "s", Events: []wal.Event{event("k", string(make([]byte, 10_000)))}}
	var stored wal.Count
	testkit.Eventually(t, time.Minute, func() error {
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			_, err := l.Append(ctx, batch)
			cancel()
			switch {
			case errors.Is(err, context.DeadlineExceeded) && l.Full():
				return nil
			case errors.Is(err, context.DeadlineExceeded): // a busy disk, unless it stays so
				return errors.New("an append waits, and the log is not full")
			case err != nil:
				t.Fatal(err)
			}
			stored.Add(wal.Count{Events: 1, Bytes: 10_000})
		}
	})
	// A withdrawn append delays no other append, and is not stored later.
	waiting, err := l.Submit(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", "waits")}})
	if err != nil {
		t.Fatal(err)
	}
	settleAll(l, p, stored)
	got, err := waiting.Wait(t.Context())
	if want := (wal.Appended{First: stored.Events + 1, Count: 1}); err != nil || got != want {
		t.Errorf("got %+v, %v once there is room, want %+v", got, err, want)
	}
	if got := appendOne(t, l, "s", "k", "x").First; got != stored.Events+2 {
		t.Errorf("got offset %d, want %d", got, stored.Events+2)
	}
}

func TestDropOldest_DropsUnsettledEvents(t *testing.T) {
	dir := t.TempDir()
	o := wal.Options{Dir: dir, MaxSize: 2 << 20, OnFull: wal.DropOldest}
	l, err := wal.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	l.OpenCursor("s", "parked")
	appendOne(t, l, "s", "k", "first")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, o)
	p, _ := l.OpenCursor("s", "d")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(stopped); dropFloors(l, p, stop) }()
	appendOne(t, l, "nobody", "k", "an event that has no destination")
	const events = 1000
	batch := &wal.Batch{Stream: "s", Events: slices.Repeat([]wal.Event{event("k", string(make([]byte, 10_000)))}, 10)}
	for range events / len(batch.Events) {
		if _, err := l.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-stopped
	if st := l.Stat(); st.Bytes > st.MaxBytes {
		t.Errorf("got %+v", st)
	}
	for _, p := range l.Cursors("s") {
		st := p.Stat()
		dropped := st.Dropped[wal.DroppedFull]
		if dropped.Events < events/2 || st.Appended.Events != events+1 || st.Pending.Events+dropped.Events != events+1 {
			t.Errorf("%s: got %+v", p.Name(), st)
		}
	}
}

// A full log drops its oldest segments, and no more events than it needs to make space.
func TestDropOldest_DropsNoMoreThanTheOldestSegments(t *testing.T) {
	const segment = 128 << 10
	l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: 4 << 20, SegmentSize: segment, OnFull: wal.DropOldest})
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(stopped); dropFloors(l, p, stop) }()
	most := uint64(0)
	for range 1000 {
		appendOne(t, l, "s", "k", string(make([]byte, 10_000)))
		pending := p.Stat().Pending.Bytes
		most = max(most, pending)
		if pending+4*segment < most {
			t.Errorf("got %d bytes pending, there were %d: more than the oldest segments were dropped", pending, most)
			break
		}
	}
	close(stop)
	<-stopped
	if p.Stat().Dropped[wal.DroppedFull].Events == 0 {
		t.Error("nothing was dropped; nothing is tested")
	}
}

// Stat also counts the segment that is ready to follow the newest.
func TestStat_CountsTheSegmentThatIsReady(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), SegmentSize: 256 << 10})
	_, err := l.OpenCursor("s", "d")
	must(t, err)
	for len(readyFiles(t, l)) == l.Stat().Segments {
		appendOne(t, l, "s", "k", strings.Repeat("x", 16<<10))
	}
	testkit.Eventually(t, time.Minute, func() error { // the segment gets its name before it is counted
		if got, want := l.Stat().Bytes, occupied(t, l); got < want {
			return fmt.Errorf("got %d bytes in use, the files occupy %d", got, want)
		}
		return nil
	})
}

// readyFiles returns the segment files that have their final name.
func readyFiles(t *testing.T, l *wal.Log) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(l.Dir(), "*.seg"))
	must(t, err)
	return files
}

// dropFloors acts as a shipper that delivers nothing: it drops the events below its floor.
func dropFloors(l *wal.Log, p *wal.Cursor, stop chan struct{}) {
	for {
		grown := l.Grown(p.Stream())
		dropTo(l, p, p.Floor().Offset())
		select {
		case <-grown:
		case <-stop:
			return
		}
	}
}

func dropTo(l *wal.Log, p *wal.Cursor, floor uint64) {
	from, count := p.Stat().Checkpoint, wal.Count{}
	if floor <= from {
		return
	}
	for from < floor {
		chunk, err := l.Read(p.Stream(), from, wal.AllLanes, 1<<20)
		if err != nil {
			panic(err)
		}
		for i := range chunk.Events {
			if e := &chunk.Events[i]; e.Offset < floor {
				count.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
			}
		}
		from = chunk.Next
	}
	marks := make(map[uint8]wal.Progress)
	for lane := range uint8(wal.Lanes) {
		marks[lane] = wal.Progress{Checkpoint: floor}
	}
	p.Settle(wal.Settlement{Lanes: marks, Add: wal.Ledger{Dropped: map[string]wal.Count{wal.DroppedFull: count}}})
}
