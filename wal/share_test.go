package wal_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// share returns policies that give the stream "small" its own size limit, and other streams none.
func share(size int64, mode wal.OnFull) func(string) wal.Policy {
	return func(stream string) wal.Policy {
		if stream != "small" {
			return wal.Policy{}
		}
		return wal.Policy{MaxSize: size, OnFull: mode}
	}
}

func openShared(t *testing.T, size int64, mode wal.OnFull) (*wal.Log, *wal.Cursor) {
	t.Helper()
	l := open(t, wal.Options{Dir: t.TempDir()})
	l.SetPolicy(share(size, mode))
	p, err := l.OpenCursor("small", "d")
	must(t, err)
	return l, p
}

// kilo returns a batch of n events that count 1,000 bytes each.
func kilo(n int) *wal.Batch {
	return &wal.Batch{Stream: "small", Events: slices.Repeat([]wal.Event{event("k", string(make([]byte, 1000-64)))}, n)}
}

func TestShare_FullStreamRejectsAloneAndRecovers(t *testing.T) {
	l, p := openShared(t, 100_000, wal.Reject)
	for range 10 {
		if _, err := l.Append(t.Context(), kilo(10)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := l.Append(t.Context(), kilo(1))
	var full *wal.FullError
	if !errors.As(err, &full) || full.Stream != "small" || full.Used != 100_000 || full.Max != 100_000 || full.RetryAfter <= 0 {
		t.Fatalf("got %v, want the share's numbers", err)
	}
	appendOne(t, l, "large", "k", "others go on")
	if l.Full() {
		t.Error("the log is full")
	}
	for name, want := range map[string][2]int64{"small": {100_000, 100_000}, "large": {}} {
		if held, most := l.Share(name); held != want[0] || most != want[1] {
			t.Errorf("%s: got %d of %d, want %v", name, held, most, want)
		}
	}
	settleAll(l, p, wal.Count{Events: 100, Bytes: 93_600})
	if _, err := l.Append(t.Context(), kilo(100)); err != nil {
		t.Errorf("got %v when all is settled", err)
	}
	if _, err := l.Append(t.Context(), kilo(101)); !errors.Is(err, wal.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge for a batch over the whole share", err)
	}
}

func TestShare_ManyAppendersDoNotExceedIt(t *testing.T) {
	l, p := openShared(t, 100_000, wal.Reject)
	done := make(chan int)
	for range 20 {
		go func() {
			stored := 0
			for range 20 {
				if _, err := l.Append(bg, kilo(1)); err == nil {
					stored++
				} else if !errors.Is(err, wal.ErrFull) {
					t.Error(err)
				}
			}
			done <- stored
		}()
	}
	stored := 0
	for range 20 {
		stored += <-done
	}
	if got := p.Stat().Pending.Events; stored != 100 || got != 100 {
		t.Errorf("got %d stored, %d pending, want 100", stored, got)
	}
}

func TestShare_FullStreamRecognizesAResentBatch(t *testing.T) {
	l, _ := openShared(t, 100_000, wal.Reject)
	b := kilo(100)
	b.ProducerID, b.ProducerSequence = "p", 1
	for _, want := range []wal.Appended{{First: 1, Count: 100}, {First: 1, Count: 100, Duplicate: true}} {
		if got, err := l.Append(t.Context(), b); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	b = kilo(1)
	b.ProducerID, b.ProducerSequence = "p", 101
	if _, err := l.Append(t.Context(), b); !errors.Is(err, wal.ErrFull) {
		t.Errorf("the next: got %v, want ErrFull", err)
	}
}

func TestShare_FullStreamMakesItsOwnAppendersWait(t *testing.T) {
	l, p := openShared(t, 100_000, wal.Block)
	if _, err := l.Append(t.Context(), kilo(100)); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := l.Append(short, kilo(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	waiting := make(chan error)
	go func() {
		_, err := l.Append(bg, kilo(50))
		waiting <- err
	}()
	for range 64 { // more than may wait in the whole log
		if _, err := l.Append(t.Context(), &wal.Batch{Stream: "large", Events: []wal.Event{event("k", string(make([]byte, 1<<20)))}}); err != nil {
			t.Fatal(err)
		}
	}
	settleAll(l, p, wal.Count{Events: 100, Bytes: 93_600})
	if err := <-waiting; err != nil {
		t.Errorf("got %v once there is room", err)
	}
	if got := l.Next("small"); got != 151 {
		t.Errorf("got next %d, want 151", got)
	}
}

func TestShare_FullStreamDropsItsOldest(t *testing.T) {
	l, p := openShared(t, 100_000, wal.DropOldest)
	late, err := l.OpenCursor("small", "parked")
	must(t, err)
	_, err = l.Append(t.Context(), kilo(5))
	must(t, err)
	late.Close()
	other, err := l.OpenCursor("large", "d")
	must(t, err)
	appendOne(t, l, "large", "k", "x")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(stopped); dropFloors(l, p, stop) }()
	for range 99 {
		if _, err := l.Append(t.Context(), kilo(5)); err != nil {
			t.Fatal(err)
		}
		const least = 100_000 - 100_000/16 - 5_000 // a block is dropped as a whole
		if st := p.Stat(); st.Pending.Events*1000 < min(least, st.Appended.Events*1000) {
			t.Errorf("got %+v: more was dropped than makes room", st)
			break
		}
	}
	close(stop)
	<-stopped
	for _, p := range l.Cursors("small") {
		st := p.Stat()
		if st.Appended.Events != 500 || st.Pending.Events > 100 || st.Pending.Events < 80 ||
			st.Dropped[wal.DroppedFull].Events != 500-st.Pending.Events {
			t.Errorf("%s: got %+v", p.Name(), st)
		}
	}
	if got := other.Floor(); got != (wal.Floor{}) {
		t.Errorf("got %+v for another stream", got)
	}
}

func TestShare_ThatGrowsLetsWaitingAppendsContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := wal.Open(context.Background(), wal.Options{Dir: t.TempDir()})
		must(t, err)
		defer l.Close()
		l.SetPolicy(share(100_000, wal.Block))
		_, err = l.OpenCursor("small", "d")
		must(t, err)
		_, err = l.Append(context.Background(), kilo(100))
		must(t, err)
		waiting := make(chan error, 1)
		go func() {
			_, err := l.Append(context.Background(), kilo(10))
			waiting <- err
		}()
		synctest.Wait()
		l.SetPolicy(share(0, ""))
		must(t, <-waiting)
	})
}

func TestShare_CloseEndsWaitingAppends(t *testing.T) {
	l, _ := openShared(t, 100_000, wal.Block)
	if _, err := l.Append(t.Context(), kilo(100)); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error)
	go func() {
		_, err := l.Append(bg, kilo(1))
		waiting <- err
	}()
	must(t, l.Close())
	if err := <-waiting; !errors.Is(err, wal.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}
