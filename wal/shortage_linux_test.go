package wal_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// The reason of a full log is the limit that was reached.
func TestShortage_NamesTheLimit(t *testing.T) {
	t.Run("max_size", func(t *testing.T) {
		l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: 2 << 20, SegmentSize: 256 << 10})
		p, _ := l.OpenCursor("s", "d")
		if got := l.Shortage(); got != wal.NoShortage {
			t.Errorf("empty log: got %q", got)
		}
		stored := fill(t, l, "s", 10_000, 1)
		if got := l.Shortage(); got != wal.FullWAL {
			t.Errorf("full log: got %q, want %q", got, wal.FullWAL)
		}
		settleFirst(t, l, p, stored.Events)
		appendOne(t, l, "s", "k", "x")
		if got := l.Shortage(); got != wal.NoShortage {
			t.Errorf("once all is settled: got %q", got)
		}
	})
	t.Run("disk", func(t *testing.T) {
		d, err := newMemory(t, "size=8m")
		if err != nil {
			notTested(t, "a full disk, since this process may not mount one", err)
			return
		}
		l, err := wal.Open(t.Context(), wal.Options{Dir: filepath.Join(d.Mount, "data"), SegmentSize: 1 << 20})
		must(t, err)
		fill(t, l, "s", 10_000, 1)
		filler := fillDisk(t, d.Mount)
		fill(t, l, "s", 10, 1)
		if got := l.Shortage(); got != wal.FullDisk {
			t.Errorf("got %q, want %q", got, wal.FullDisk)
		}
		v, err := l.Volume()
		if err != nil || v.Kind != "tmpfs" || v.Size != 8<<20 || v.Free > 1<<20 {
			t.Errorf("got %+v, %v, want a tmpfs of 8 MiB that is full", v, err)
		}
		must(t, os.Remove(filler))
		must(t, l.Close())
		d.Detach()
	})
}
