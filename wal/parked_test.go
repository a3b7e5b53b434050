package wal_test

import (
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// settledSoon returns when done is closed, or after 50 ms. After that time, the goroutine that closes done probably
// waits for the caller.
func settledSoon(done <-chan struct{}) {
	select {
	case <-done:
	case <-time.After(50 * time.Millisecond):
	}
}

// A parked destination is opened, ships, and is parked again while the log counts the events to drop for it.
func TestParkedDestination_ThatWasBackMeanwhileDropsNothingTwice(t *testing.T) {
	var l *wal.Log
	var p *wal.Cursor
	counted := 0
	o := wal.Options{Dir: t.TempDir()}.WithParkedStep(func() {
		if counted++; counted > 1 {
			return
		}
		back, err := l.OpenCursor("small", "d")
		must(t, err)
		settleTo(t, back, 6, wal.Ledger{Delivered: wal.Count{Events: 5, Bytes: 5 * (1000 - 64)}})
		back.Close()
	})
	l = open(t, o)
	l.SetPolicy(share(100_000, wal.DropOldest))
	p, err := l.OpenCursor("small", "d")
	must(t, err)
	_, err = l.Append(t.Context(), kilo(10))
	must(t, err)
	p.Close()
	for range 13 {
		_, err := l.Append(t.Context(), kilo(10))
		must(t, err)
	}
	st := p.Stat()
	left := uint64(len(readAll(t, l, "small", st.Checkpoint, wal.AllLanes)))
	if st.Pending.Events != left || st.Delivered.Events != 5 || st.Dropped[wal.DroppedFull].Events != 140-5-left {
		t.Errorf("got %+v, want 5 delivered and the %d pending that it can still read", st, left)
	}
	if counted < 2 {
		t.Error("it was counted once; nothing is tested")
	}
}

// The committer continues while the log counts the events to drop for a parked destination.
func TestParkedDestination_DelaysNoCommit(t *testing.T) {
	counting, release := make(chan struct{}), make(chan struct{})
	o := wal.Options{Dir: t.TempDir(), MaxSize: 4 << 20, SegmentSize: 256 << 10, OnFull: wal.DropOldest}.WithParkedStep(func() {
		select {
		case counting <- struct{}{}:
			<-release
		case <-release:
		}
	})
	l := open(t, o)
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	large := string(make([]byte, 10_000))
	appendOne(t, l, "s", "k", large)
	p.Close()
	stored := make(chan error)
	go func() {
		var err error
		for range 999 {
			if _, err = l.Append(bg, &wal.Batch{Stream: "s", Events: []wal.Event{event("k", large)}}); err != nil {
				break
			}
		}
		stored <- err
	}()
	<-counting
	sync(t, l) // blocks for ever if Sync waits for the count
	close(release)
	must(t, <-stored)
	if st := p.Stat(); st.Appended.Events != 1000 || st.Dropped[wal.DroppedFull].Events == 0 {
		t.Errorf("got %+v", st)
	}
}
