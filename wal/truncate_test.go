package wal_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// appendUntil appends to the stream "s" until the log has that many segments, and returns the stream's only cursor.
func appendUntil(t testing.TB, l *wal.Log, segments int) *wal.Cursor {
	t.Helper()
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	for l.Stat().Segments < segments {
		appendOne(t, l, "s", "k", strings.Repeat("x", 16<<10))
	}
	return p
}

func TestTruncation_DelaysNoAppendAndNoRoll(t *testing.T) {
	begun, release := make(chan struct{}, 1), make(chan struct{})
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10, MaxSize: 64 << 20}.WithUnlink(func(path string) error {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-release
		return os.Remove(path)
	})
	l := open(t, o)
	p := appendUntil(t, l, 20)
	settleAll(l, p, p.Stat().Pending)
	<-begun
	left := l.Stat().Segments
	for l.Stat().Segments < left+5 { // runs for ever if a roll waits for the unlink
		appendOne(t, l, "s", "k", strings.Repeat("x", 16<<10))
	}
	close(release)
}

func TestTruncation_DelaysASyncByAFewUnlinksOnly(t *testing.T) {
	const most = 32
	synctest.Test(t, func(t *testing.T) {
		unlinked, release := 0, make(chan struct{})
		o := wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10, MaxSize: 64 << 20}.WithUnlink(func(path string) error {
			if unlinked++; unlinked == 1 {
				time.Sleep(time.Second) // until the sync waits, at most for this pass and the next
			}
			if unlinked > 2*most {
				<-release
			}
			return os.Remove(path)
		})
		l := open(t, o)
		p := appendUntil(t, l, 3*most)
		settleAll(l, p, p.Stat().Pending)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := l.Sync(ctx); err != nil {
			t.Errorf("got %v of a sync that need not wait for all unlinks", err)
		}
		close(release)
	})
}

func TestTruncation_TriesAFailedUnlinkAgain(t *testing.T) {
	tries, fails := 0, 30
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10, MaxSize: 64 << 20}.WithUnlink(func(path string) error {
		if tries++; tries <= fails {
			return errors.New("device or resource busy")
		}
		return os.Remove(path)
	})
	l := open(t, o)
	p := appendUntil(t, l, 12)
	full := l.Stat()
	settleAll(l, p, p.Stat().Pending)
	sync(t, l)
	if got := l.Stat(); got.Bytes < full.Bytes || len(segmentFiles(t, o.Dir)) < full.Segments {
		t.Errorf("got %+v and %d files, want the bytes of files that are still there to count: %+v", got, len(segmentFiles(t, o.Dir)), full)
	}
	for range fails/full.Segments + 1 {
		appendOne(t, l, "s", "k", "x")
		settleAll(l, p, p.Stat().Pending)
		sync(t, l)
	}
	if got, files := l.Stat(), len(segmentFiles(t, o.Dir)); got.Bytes >= full.Bytes/2 || files > 3 {
		t.Errorf("got %+v and %d files when all is settled, was %+v", got, files, full)
	}
}

// A destination is added after all other destinations of its stream have settled some segments, and before these
// segments are removed. It can read all events that are pending for it.
func TestTruncation_KeepsWhatANewDestinationCounts(t *testing.T) {
	var l *wal.Log
	var late *wal.Cursor
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10, MaxSize: 64 << 20}.WithSettledStep(func() {
		if late == nil {
			p, err := l.OpenCursor("s", "late")
			must(t, err)
			late = p
		}
	})
	l = open(t, o)
	p := appendUntil(t, l, 6)
	settleAll(l, p, p.Stat().Pending)
	sync(t, l)
	if late == nil {
		t.Fatal("no segment was about to go; nothing is tested")
	}
	st := late.Stat()
	if got, want := uint64(len(readAll(t, l, "s", 1, wal.AllLanes))), l.Next("s")-1; got != want || st.Pending.Events != want {
		t.Errorf("got %d events of %d, and %+v", got, want, st)
	}
}
