package wal_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
	"github.com/standpipe/standpipe/wal/timeline"
)

// appendUnset appends an event whose time is at on the timeline.
func appendUnset(t *testing.T, l *wal.Log, number uint32, at time.Time) {
	t.Helper()
	e := wal.Event{Key: "k", Data: []byte("d")}
	timeline.Stamp{At: at.UnixNano(), Timeline: number}.On(&e)
	_, err := l.Append(context.Background(), &wal.Batch{Stream: "s", Events: []wal.Event{e}})
	testkit.Must(t, err)
}

// times returns the times of the stream's events, as a reader gets them.
func times(t *testing.T, l *wal.Log) (all []time.Time) {
	t.Helper()
	chunk, err := l.Read("s", 1, wal.AllLanes, 1<<20)
	testkit.Must(t, err)
	for _, e := range chunk.Events {
		all = append(all, time.Unix(0, e.Time))
	}
	return all
}

// Times on a timeline are corrected for every reader once the correction is known: in the log, after a restart, in a dump
// and in a snapshot. A time of the producer on the same day is not changed.
func TestTimeline_CorrectsStoredTimes(t *testing.T) {
	dir := t.TempDir()
	open := func() (*wal.Log, *timeline.Table) {
		c := timeline.New(dir)
		l, err := wal.Open(t.Context(), wal.Options{Dir: dir, Timelines: c})
		testkit.Must(t, err)
		return l, c
	}
	l, c := open()
	zero, off := time.Unix(0, 0), 20_000*day
	number, _, err := c.Begin("a", zero, zero.Add(time.Hour), time.Time{})
	testkit.Must(t, err)
	taken := zero.Add(2 * time.Hour)
	appendUnset(t, l, number, taken)
	appendUnset(t, l, 0, taken)
	if got, want := times(t, l), []time.Time{taken, taken}; !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("not set: got %s, want %s", got, want)
	}
	testkit.Must(t, c.Set("a", zero.Add(off), 3*time.Hour))
	want := []time.Time{taken.Add(off), taken}
	if got := times(t, l); !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("set: got %s, want %s", got, want)
	}
	testkit.Must(t, l.Close())
	l, _ = open()
	if got := times(t, l); !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("after a restart: got %s, want %s", got, want)
	}
	out := filepath.Join(t.TempDir(), "copy")
	_, err = inspect.Snapshot(t.Context(), dir, out, nil)
	testkit.Must(t, err)
	for _, from := range []string{dir, out} {
		var got []time.Time
		testkit.Must(t, inspect.Dump(t.Context(), from, inspect.DumpOptions{}, func(e inspect.DumpedEvent) error {
			got = append(got, time.Unix(0, e.Time))
			return nil
		}))
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			t.Errorf("dump of %s: got %s, want %s", from, got, want)
		}
	}
	testkit.Must(t, l.Close())
}

// A log of 1970 is opened with the right time. Its events are not older than MaxAge, and the oldest pending one has its real
// age. Without a correction their age is not known, and they are kept.
func TestTimeline_AgeOfEventsFromBeforeTheClockWasSet(t *testing.T) {
	for _, corrected := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			dir, zero := t.TempDir(), time.Unix(0, 0)
			c := &shiftedClock{off: time.Until(zero)}
			lines := timeline.New(dir)
			l, p := openAged(t, wal.Options{Dir: dir, Clock: c.now, Timelines: lines}, 0)
			number, _, err := lines.Begin("a", zero, zero, time.Time{})
			testkit.Must(t, err)
			time.Sleep(time.Second)
			appendUnset(t, l, number, c.now())
			appended := time.Now()
			time.Sleep(time.Hour)
			p.Close()
			testkit.Must(t, l.Close())

			if l, p = openAged(t, wal.Options{Dir: dir, Timelines: lines}, 2*time.Hour); corrected {
				testkit.Must(t, lines.Set("a", zero.Add(-c.off), 2*time.Hour))
			} else {
				testkit.Must(t, lines.End("b", zero.Add(2*time.Hour)))
			}
			if got, want := time.Since(p.Stat().OldestPending), time.Since(appended); corrected && got != want {
				t.Errorf("got the age %s, want %s", got, want)
			}
			time.Sleep(30 * time.Minute)
			if got := floorOf(p); got.Offset() != 0 {
				t.Errorf("after 90 minutes: got %+v, want no event dropped", got)
			}
			time.Sleep(time.Hour)
			if got := floorOf(p); (got.Age == 2) != corrected {
				t.Errorf("after 150 minutes, corrected: %v: got %+v", corrected, got)
			}
			p.Close()
			testkit.Must(t, l.Close())
		})
	}
}
