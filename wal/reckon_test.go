package wal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// damagedBacklog creates a log of many segments with three destinations. One has settled nothing, one has settled the
// first half of the events, and one has settled all lanes but one. Then it damages a segment in the second half.
func damagedBacklog(t *testing.T, o wal.Options) (events uint64) {
	t.Helper()
	l := open(t, o)
	all := wal.Count{}
	for _, d := range []string{"none", "half", "lane"} {
		_, err := l.OpenCursor("s", d)
		must(t, err)
	}
	for i := 0; l.Stat().Segments < 12; i++ {
		appendOne(t, l, "s", fmt.Sprint("k", i%8), strings.Repeat("x", 16<<10))
		all.Add(wal.Count{Events: 1, Bytes: 16 << 10})
	}
	end := l.Next("s")
	settleLanes(t, l, "s", "half", func(uint8) uint64 { return end / 2 })
	settleLanes(t, l, "s", "lane", func(lane uint8) uint64 {
		if lane == wal.LaneOf("k7") {
			return 1
		}
		return end
	})
	must(t, l.Close())
	files := segmentFiles(t, o.Dir)
	f, err := os.OpenFile(files[len(files)*3/4], os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt(make([]byte, 2*os.Getpagesize()), 0)
	must(t, err)
	must(t, f.Close())
	return end - 1
}

// wantReckoned checks that each destination's pending events are the unsettled events that it can still read, and no
// others.
func wantReckoned(t *testing.T, l *wal.Log, dropped bool) {
	t.Helper()
	for _, p := range l.Cursors("s") {
		marks, there := p.Lanes(), wal.Count{}
		for _, e := range readAll(t, l, "s", 1, wal.AllLanes) {
			if !marks[e.Lane].Done(e.Offset) {
				there.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
			}
		}
		if got := p.Stat(); got.Pending != there || got.Dropped[wal.DroppedCorrupt].Events == 0 && dropped {
			t.Errorf("%s: got %+v, want the %+v pending that can be read", p.Name(), got, there)
		}
	}
}

func TestLostSegment_IsReckonedByTheIndex(t *testing.T) {
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 1 << 20}
	damagedBacklog(t, o)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	l := open(t, o)
	runtime.ReadMemStats(&after)
	// The backlog is 12 MiB for each of the three destinations. For two of them, most events need not be read. For the
	// third, events of other lanes need not be read.
	if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
		t.Errorf("got %d bytes allocated by Open, want less than half of 36 MiB", got)
	}
	wantReckoned(t, l, true)
	must(t, l.Close())
	wantReckoned(t, open(t, o), true)
}

func TestLostSegment_IsReckonedAfterOpenWhereThatTakesLong(t *testing.T) {
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 256 << 10}.CountLossesLater()
	damagedBacklog(t, o)
	l := open(t, o)
	stuck := wal.LaneOf("k7")
	for _, p := range l.Cursors("s") { // they make progress meanwhile
		marks := p.Lanes()
		from, n := marks[stuck].Checkpoint, wal.Count{}
		for _, e := range readAll(t, l, "s", from, wal.LaneSet(0).With(stuck))[:1] {
			n.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
			must(t, p.Settle(wal.Settlement{Lanes: map[uint8]wal.Progress{stuck: {Checkpoint: e.Offset + 1}}, Add: wal.Ledger{Delivered: n}}))
		}
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		reckoned := 0
		for _, p := range l.Cursors("s") {
			if p.Stat().Dropped[wal.DroppedCorrupt].Events > 0 {
				reckoned++
			}
		}
		if reckoned == 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %d destinations reckoned after a minute, want 3", reckoned)
		}
	}
	wantReckoned(t, l, true)
	files, _ := filepath.Glob(filepath.Join(o.Dir, "wal", "*.corrupt"))
	if len(files) != 1 {
		t.Errorf("got %v set aside, want one segment", files)
	}
}
