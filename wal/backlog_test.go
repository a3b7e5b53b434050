package wal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// These tests cover problems that users of other agents reported about their local queues. The full disk is tested in
// full_test.go and nospace_test.go, and the ways to damage a segment in damage_test.go.

// longLog makes a log of n segments of 256 KiB.
func longLog(t testing.TB, n int) wal.Options {
	t.Helper()
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 256 << 10}
	l, err := wal.Open(t.Context(), o)
	must(t, err)
	l.OpenCursor("s", "d")
	for i := 0; l.Stat().Segments < n; i++ {
		appendTexts(t, l, i, i+1)
	}
	must(t, l.Close())
	return o
}

func appendTexts(t testing.TB, l *wal.Log, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		appendOne(t, l, "s", "k", fmt.Sprintf("%010000d", n))
	}
}

// Every segment has a bad page: the agent starts, starts again, and serves the other events.
func TestBacklog_BadPagesDoNotCrashLoopTheAgent(t *testing.T) {
	s := newSample(t)
	dir := s.copy(t)
	for i, file := range s.files {
		path := filepath.Join(dir, "wal", file)
		overwrite(t, path, int64(2+i%8)*4096, make([]byte, 4096))
	}
	for range 3 {
		l, err := wal.Open(t.Context(), sampleOptions(dir))
		must(t, err)
		must(t, l.Close())
	}
	if lost := s.checkDamaged(t, dir); lost == 0 {
		t.Error("got nothing lost; nothing was tested")
	}
}

// A queue in a single file never gets smaller than its largest size. The log does.
func TestBacklog_FreesTheDiskOnceDrained(t *testing.T) {
	l := open(t, longLog(t, 12))
	p, _ := l.OpenCursor("s", "d")
	if got := occupied(t, l); got < 11*256<<10 {
		t.Errorf("got %d bytes of a backlog", got)
	}
	settleAll(l, p, p.Stat().Pending)
	sync(t, l)
	if got := l.Stat(); got.Segments > 2 || occupied(t, l) > 1<<20 {
		t.Errorf("got %+v and %d bytes in the folder once all is delivered", got, occupied(t, l))
	}
}

// A queue that is read completely at start runs out of memory when it is long. The log does not.
func TestBacklog_LongOneCostsNoMemory(t *testing.T) {
	allocated := make(map[int]uint64)
	for _, n := range []int{4, 20} {
		o := longLog(t, n)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		l := open(t, o)
		for from, last := uint64(1), l.Next("s"); from < last; { // in the way of a shipper
			chunk, err := l.Read("s", from, wal.AllLanes, 256<<10)
			must(t, err)
			if from = chunk.Next; from > 64 {
				break
			}
		}
		runtime.ReadMemStats(&after)
		allocated[n] = after.TotalAlloc - before.TotalAlloc
	}
	if allocated[20] > allocated[4]+2<<20 {
		t.Errorf("got %d bytes allocated with 20 segments, %d with 4", allocated[20], allocated[4])
	}
}

// A tail that is cut off or overwritten costs at most the events of the newest segment, not the whole queue.
func TestBacklog_DamagedTailKeepsTheRest(t *testing.T) {
	s := newSample(t)
	last := len(s.files) - 1
	inLast := uint64(0)
	for _, held := range inspectLog(t, s.dir).Segments[last].Streams {
		inLast += held.Held.Events
	}
	for name, damage := range map[string]func(path string){
		"cut":         func(path string) { must(t, os.Truncate(path, 12<<10)) },
		"overwritten": func(path string) { overwrite(t, path, 8<<10, []byte(fmt.Sprintf("%065536d", 0))) },
		"gone":        func(path string) { must(t, os.Remove(path)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := s.copy(t)
			damage(filepath.Join(dir, "wal", s.files[last]))
			if lost := s.checkDamaged(t, dir); lost > inLast {
				t.Errorf("got %d events lost, the newest segment held %d", lost, inLast)
			}
		})
	}
}
