package timeline_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/timeline"
)

var zero = time.Unix(0, 0)

func load(t *testing.T, dir string) *timeline.Table {
	t.Helper()
	c := timeline.New(dir)
	testkit.Must(t, c.Load())
	return c
}

// A boot has one timeline until its clock is set, also for the next process. Later ones are other timelines.
func TestTable_OneTimelineForABoot(t *testing.T) {
	dir := t.TempDir()
	first, at, err := load(t, dir).Begin("a", zero, zero.Add(time.Second), time.Time{})
	if err != nil || first == 0 || !at.Equal(zero) {
		t.Fatalf("got the timeline %d from %s, %v", first, at, err)
	}
	c := load(t, dir)
	again, at, err := c.Begin("a", zero.Add(time.Hour), zero.Add(2*time.Hour), time.Time{})
	if err != nil || again != first || !at.Equal(zero) {
		t.Errorf("got the timeline %d from %s, %v, want %d from %s", again, at, err, first, zero)
	}
	testkit.Must(t, c.Set("a", zero.AddDate(50, 0, 0), 3*time.Hour))
	later, _, err := c.Begin("a", zero, zero, time.Time{})
	other, _, err2 := c.Begin("b", zero, zero, time.Time{})
	if err != nil || err2 != nil || later == first || other == first || later == other {
		t.Errorf("got the timelines %d, %d and %d, %v, %v, want three", first, later, other, err, err2)
	}
}

// Times of blocks are corrected between the first and the last time of the timeline only.
func TestTable_TimesOfBlocks(t *testing.T) {
	c := load(t, t.TempDir())
	_, _, err := c.Begin("a", zero, zero.Add(time.Hour), time.Time{})
	testkit.Must(t, err)
	at := func(d time.Duration, want time.Duration, wantKnown bool) {
		t.Helper()
		if got, known := c.Time(zero.Add(d)); !got.Equal(zero.Add(want)) || known != wantKnown {
			t.Errorf("%s: got %s, known: %v, want %s, %v", d, got.Sub(zero), known, want, wantKnown)
		}
	}
	at(time.Minute, time.Minute, true)
	at(2*time.Hour, 2*time.Hour, false)
	testkit.Must(t, c.Set("a", zero.Add(1000*time.Hour), 3*time.Hour))
	at(time.Minute, time.Minute, true)
	at(2*time.Hour, 1002*time.Hour, true)
	at(4*time.Hour, 4*time.Hour, true)
	_, _, err = c.Begin("a", zero.Add(9*time.Hour), zero.Add(10*time.Hour), time.Time{})
	testkit.Must(t, err)
	testkit.Must(t, c.Set("a", zero.Add(4*time.Hour), 3*time.Hour))
	at(11*time.Hour, 6*time.Hour, false) // or 11 h: the clock has that time a second time
}

// On a full disk no timeline is given out that is not in the file, and a correction is stored by a later try.
func TestTable_FailedWriteIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	obstacle := filepath.Join(dir, timeline.Name+".new") // of the file that replaces the old one
	c := load(t, dir)
	failing := func(try func() error) {
		t.Helper()
		testkit.Must(t, os.Mkdir(obstacle, 0o700))
		for range 2 {
			if err := try(); err == nil {
				t.Error("got no error, want one: the file was not written")
			}
		}
		testkit.Must(t, os.Remove(obstacle))
		testkit.Must(t, try())
	}
	var number uint32
	failing(func() (err error) {
		number, _, err = c.Begin("a", zero, zero, time.Time{})
		return err
	})
	if got, _, err := load(t, dir).Begin("a", zero, zero, time.Time{}); err != nil || got != number {
		t.Errorf("got the timeline %d, %v, want %d from the file", got, err, number)
	}
	failing(func() error { return c.Set("a", zero.Add(time.Hour), time.Hour) })
	e := wal.Event{Timeline: number}
	if load(t, dir).Correct(&e); e.Time != int64(time.Hour) {
		t.Errorf("got the time %s, want it corrected by the file", time.Duration(e.Time))
	}
}

// A file that is damaged is an error and stays. A timeline that was in it is not given out again.
func TestTable_DamagedFile(t *testing.T) {
	dir := t.TempDir()
	number, _, err := load(t, dir).Begin("a", zero, zero, time.Time{})
	testkit.Must(t, err)
	path := filepath.Join(dir, timeline.Name)
	whole, err := os.ReadFile(path)
	testkit.Must(t, err)
	testkit.Must(t, os.WriteFile(path, whole[:len(whole)/2], 0o600))
	c := timeline.New(dir)
	if err := c.Load(); err == nil {
		t.Error("half a file is no error")
	}
	testkit.Must(t, c.SetAside())
	if got, err := os.ReadFile(path + ".corrupt"); err != nil || !bytes.Equal(got, whole[:len(whole)/2]) {
		t.Errorf("got %q, %v, want the file set aside", got, err)
	}
	next, _, err := c.Begin("a", zero, zero, time.Time{})
	testkit.Must(t, err)
	testkit.Must(t, c.Set("a", zero.Add(time.Hour), time.Hour))
	e := wal.Event{Time: 5, Timeline: number}
	if c.Correct(&e); next == number || e.Time != 5 || e.Timeline != number {
		t.Errorf("got %+v and the timeline %d, want the event unchanged, and another timeline", e, next)
	}
}

// The file has the latest timelines.
func TestTable_IsBounded(t *testing.T) {
	dir := t.TempDir()
	c := load(t, dir)
	first, _, err := c.Begin("a", zero, zero, time.Time{})
	testkit.Must(t, err)
	testkit.Must(t, c.Set("a", zero.Add(time.Hour), time.Hour))
	var last uint32
	for range 200 {
		last, _, err = c.Begin("b", zero, zero, time.Time{})
		testkit.Must(t, err)
		testkit.Must(t, c.Set("b", zero.Add(time.Hour), time.Hour))
	}
	c = load(t, dir)
	e, f := wal.Event{Timeline: first}, wal.Event{Timeline: last}
	c.Correct(&e)
	if c.Correct(&f); e.Timeline != first || f.Time != int64(time.Hour) {
		t.Errorf("got %+v and %+v, want the latest corrected only", e, f)
	}
}
