package wal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// rollOptions returns options whose segments hold only a few events of rollText.
func rollOptions(dir string) wal.Options { return wal.Options{Dir: dir, SegmentSize: 64 << 10} }

func rollText(offset uint64) string { return fmt.Sprintf("%020000d", offset) }

// rollEvents is enough for several segments.
const rollEvents = 10

// rolled is a copy of the directory in the state that a crash before or after a commit would have left.
type rolled struct {
	dir   string
	acked uint64 // number of events that had been acked
	more  uint64 // number of further events that the commit stored
}

// crashesOfRolls appends until segments have rolled several times, and copies the directory before and after each
// commit.
func crashesOfRolls(t *testing.T) (crashes []rolled) {
	dir, acked := t.TempDir(), uint64(0)
	crash := func(more uint64) func() error {
		return func() error {
			if acked == rollEvents { // the log is being closed
				return nil
			}
			to := t.TempDir()
			copyDir(t, to, dir)
			crashes = append(crashes, rolled{to, acked, more})
			return nil
		}
	}
	l, err := wal.Open(t.Context(), rollOptions(dir).WithFaults(crash(0), crash(1)))
	must(t, err)
	for acked < rollEvents {
		appendOne(t, l, "s", "k", rollText(acked+1))
		acked++
	}
	must(t, l.Close())
	return crashes
}

// states returns the states of a log's segments, such as "sealed active ready".
func states(t *testing.T, dir string) string {
	t.Helper()
	var states []string
	for _, s := range inspectLog(t, dir).Segments {
		states = append(states, string(s.State))
	}
	return strings.Join(states, " ")
}

// A crash at any point of a roll loses nothing, and the inspect package finds the remaining log sound.
func TestRoll_CrashLosesNothing(t *testing.T) {
	found := make(map[string]int) // by the states of the last two segments
	for _, c := range crashesOfRolls(t) {
		all := strings.Fields(states(t, c.dir))
		found[strings.Join(all[max(0, len(all)-2):], " ")]++
		wantSound(t, c.dir)
		wantRolled(t, c, c.acked+c.more)
	}
	t.Log(found)
	for _, want := range []string{"sealed active", "active ready", "sealed ready"} {
		if found[want] == 0 {
			t.Errorf("got no crash that left %q: %v", want, found)
		}
	}
}

// wantRolled opens the log after a crash, twice. It checks that the log has that many events, that it accepts more, and
// that it is sound after Close.
func wantRolled(t *testing.T, c rolled, events uint64) {
	t.Helper()
	for range 2 {
		l, err := wal.Open(t.Context(), rollOptions(c.dir))
		must(t, err)
		got := readAll(t, l, "s", 1, wal.AllLanes)
		if uint64(len(got)) != events || l.Next("s") != events+1 {
			t.Fatalf("got %d events and next %d, want %d", len(got), l.Next("s"), events)
		}
		for i := range got {
			if want := rollText(uint64(i) + 1); string(got[i].Data) != want {
				t.Errorf("got event %d %.20q, want %.20q", i+1, got[i].Data, want)
			}
		}
		for range 3 { // until the next roll
			events++
			appendOne(t, l, "s", "k", rollText(events))
		}
		must(t, l.Close())
		wantSound(t, c.dir)
	}
}

// If the newest segment with events is lost after a crash, its offsets are never given out again, even if the next
// segment had been made ready.
func TestLostNewest_OffsetsAreNotAssignedAgain(t *testing.T) {
	lost := 0
	for _, c := range crashesOfRolls(t) {
		in := inspectLog(t, c.dir)
		last := len(in.Segments) - 1
		for last >= 0 && len(in.Segments[last].Streams) == 0 {
			last--
		}
		if last < 0 || last == 0 && len(in.Segments) == 1 {
			continue // nothing is left of the log
		}
		must(t, os.Remove(filepath.Join(c.dir, in.Segments[last].Name)))
		lost++
		if report := verify(t, c.dir); last > 0 && len(report.Damage) == 0 {
			t.Errorf("got no damage from verify without %s of %+v", in.Segments[last].Name, in.Segments)
		}
		for range 2 {
			l, err := wal.Open(t.Context(), rollOptions(c.dir))
			must(t, err)
			if l.ID() != in.ID {
				t.Errorf("got the log %s, want %s", l.ID(), in.ID)
			}
			if got := appendOne(t, l, "s", "k", "x").First; got <= c.acked+c.more {
				t.Errorf("got offset %d, %d had been given out", got, c.acked+c.more)
			}
			must(t, l.Close())
		}
	}
	if lost == 0 {
		t.Error("no segment was lost")
	}
}

// A segment ends with the commit group that makes it large, even if that is its first one, so that the events of a
// segment are bounded.
func TestRoll_SegmentEndsWithTheFirstGroupThatFillsIt(t *testing.T) {
	l := open(t, rollOptions(t.TempDir()))
	for n := range 6 {
		appendOne(t, l, "s", "k", strings.Repeat("x", 200<<10))
		if got, want := l.Stat().Segments, n+2; got != want {
			t.Errorf("got %d segments after %d groups that each fill one, want %d", got, n+1, want)
		}
	}
}

// The segment that was made ready holds nothing, so its absence loses nothing.
func TestRoll_NothingIsLostWithoutThePreallocatedSegment(t *testing.T) {
	removed := 0
	for _, c := range crashesOfRolls(t) {
		if !strings.HasSuffix(states(t, c.dir), "active ready") {
			continue
		}
		in := inspectLog(t, c.dir)
		must(t, os.Remove(filepath.Join(c.dir, in.Segments[len(in.Segments)-1].Name)))
		removed++
		wantSound(t, c.dir)
		wantRolled(t, c, c.acked+c.more)
	}
	if removed == 0 {
		t.Error("no segment was made ready")
	}
}

// A segment whose events are all settled still holds the log's state, and stays until the next segment has begun.
func TestRoll_SettledSegmentStaysUntilTheNextHasBegun(t *testing.T) {
	dir := t.TempDir()
	l := open(t, rollOptions(dir))
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	marks := make(map[uint8]wal.Progress)
	for lane := range uint8(wal.Lanes) {
		marks[lane] = wal.Progress{Checkpoint: 1000} // including later events
	}
	p.Settle(wal.Settlement{Lanes: marks})
	sync(t, l)
	for !strings.HasSuffix(states(t, dir), "sealed ready") {
		appendOne(t, l, "s", "k", rollText(l.Next("s")))
	}
	p.Close()
	_, err = l.OpenCursor("s", "d") // makes the log check again which segments the destination needs
	must(t, err)
	sync(t, l)
	crashed := t.TempDir()
	copyDir(t, crashed, dir)
	if got, want := open(t, rollOptions(crashed)).Next("s"), l.Next("s"); got != want {
		t.Errorf("got next %d after a crash, want %d", got, want)
	}
}
