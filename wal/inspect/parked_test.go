package inspect_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/test/walkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
)

// The events that are missing between those of a parked destination and those of another were truncated, not lost.
func TestVerify_HoleBehindAParkedDestination(t *testing.T) {
	dir := t.TempDir()
	l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 64 << 10})
	a, err := l.OpenCursor("s", "a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.OpenCursor("s", "b")
	if err != nil {
		t.Fatal(err)
	}
	fill := func(more int) {
		for want := l.Stat().Segments + more; l.Stat().Segments < want; {
			testkit.AppendOne(t, l, "s", fmt.Sprint(l.Next("s")), strings.Repeat("x", 8<<10))
		}
	}
	fill(3)
	b.Park()
	for range 3 {
		fill(4)
		walkit.SettleAll(l, a, a.Stat().Pending)
		walkit.Sync(t, l)
	}
	fill(2)
	a.Pause(b.Stat().Parking.At)
	walkit.Sync(t, l)
	want := []wal.CursorStat{a.Stat(), b.Stat()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := walkit.WantSound(t, dir); len(got.Notes) > 0 {
		t.Errorf("got notes %q, want none", got.Notes)
	}
	got, err := inspect.Inspect(t.Context(), dir)
	if err != nil || len(got.Missing) > 0 {
		t.Errorf("got %+v missing, %v, want none", got.Missing, err)
	}
	for i, p := range got.Cursors {
		w := want[i]
		if p.Pending != w.Pending || p.Checkpoint != w.Checkpoint || p.Dropped[wal.DroppedParked] != w.Dropped[wal.DroppedParked] ||
			p.Parking.Next != w.Parking.Next || !p.Paused.Equal(w.Paused) || p.Appended != p.Settled().Plus(p.Pending) {
			t.Errorf("got %+v, want %+v", p, w)
		}
	}
	live := uint64(0)
	for _, s := range got.Segments {
		for _, held := range s.Streams {
			live += held.Live
		}
	}
	if want := want[0].Pending.Plus(want[1].Pending).Events; live != want {
		t.Errorf("got %d live events, want %d", live, want)
	}
}
