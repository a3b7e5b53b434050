package wal_test

import (
	"context"
	goSync "sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// shiftedClock is a clock of the agent that a test can make jump.
type shiftedClock struct {
	mu  goSync.Mutex
	off time.Duration
}

func (c *shiftedClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off).Round(0)
}

func (c *shiftedClock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

const day = 24 * time.Hour

func maxAge(d time.Duration) func(string) wal.Policy {
	return func(string) wal.Policy { return wal.Policy{MaxAge: d} }
}

// floorOf waits until every goroutine of the synctest bubble is idle, and then returns the cursor's floor.
func floorOf(p *wal.Cursor) wal.Floor {
	synctest.Wait()
	return p.Floor()
}

func openAged(t *testing.T, o wal.Options, age time.Duration) (*wal.Log, *wal.Cursor) {
	t.Helper()
	l, err := wal.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	l.SetPolicy(maxAge(age))
	p, err := l.OpenCursor("s", "d")
	if err != nil {
		t.Fatal(err)
	}
	return l, p
}

func TestAge_DropsEventsOlderThanMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := openAged(t, wal.Options{Dir: t.TempDir()}, time.Hour)
		defer l.Close()
		appendOne(t, l, "s", "k", "first")
		time.Sleep(30 * time.Minute)
		appendOne(t, l, "s", "k", "second")
		time.Sleep(29 * time.Minute)
		if got := floorOf(p); got.Offset() != 0 {
			t.Errorf("got %+v after 59 minutes, want none", got)
		}
		time.Sleep(4 * time.Minute)
		if got, want := floorOf(p), (wal.Floor{Age: 2}); got != want || got.Reason(1) != wal.DroppedAge {
			t.Errorf("got %+v after 63 minutes, want %+v", got, want)
		}
		time.Sleep(30 * time.Minute)
		if got, want := floorOf(p), (wal.Floor{Age: 3}); got != want {
			t.Errorf("got %+v after 93 minutes, want %+v", got, want)
		}
	})
}

func TestAge_ParkedDestinationDropsOldEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := wal.Options{Dir: dir, SegmentSize: 64 << 10}
		l, p := openAged(t, o, 0)
		defer func() { l.Close() }()
		var all wal.Count
		for range 30 {
			appendOne(t, l, "s", "k", string(make([]byte, 10_000)))
			all.Add(wal.Count{Events: 1, Bytes: 10_000})
		}
		p.Close()
		l.SetPolicy(maxAge(time.Hour))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		st := p.Stat()
		if st.Dropped[wal.DroppedAge] != all || st.Pending.Events != 0 {
			t.Errorf("got %+v, want all %+v dropped for their age", st, all)
		}
		sync(t, l)
		if got := l.Stat().Segments; got != 1 {
			t.Errorf("got %d segments, want 1", got)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l, p = openAged(t, o, time.Hour)
		if got := p.Stat(); got.Dropped[wal.DroppedAge] != all || got.Pending.Events != 0 {
			t.Errorf("got %+v after a restart", got)
		}
	})
}

// WaitSettled waits for a resting cursor too, although it has no shipper. While the cursor rests, the log itself drops
// events that are too old, and an awaited event that was dropped counts as not delivered. When the cursor no longer
// rests, its shipper drops such events and the log does not.
func TestCursor_RestingDropsAndIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := openAged(t, wal.Options{Dir: t.TempDir()}, time.Hour)
		defer l.Close()
		p.Rest(true)
		a := appendOne(t, l, "s", "k", "awaited")
		done := false
		go func() {
			if delivered, err := l.WaitSettled(t.Context(), "s", a); err != nil || delivered {
				t.Errorf("got delivered %v, error %v; want an event that was dropped", delivered, err)
			}
			done = true
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		if done {
			t.Error("a place that rests is not waited for")
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if st := p.Stat(); !done || st.Dropped[wal.DroppedAge].Events != 1 || st.Pending.Events != 0 {
			t.Errorf("got %+v after max_age; awaited: %v", st, !done)
		}
		p.Rest(false)
		appendOne(t, l, "s", "k", "shipped")
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if st := p.Stat(); st.Pending.Events != 1 || p.Floor().Offset() != 3 {
			t.Errorf("got %+v with the floor %d; want the shipper to be asked", st, p.Floor().Offset())
		}
	})
}

// Once the clock has run evenly for a while, the age of an event from an earlier run is calculated from its block's
// time.
func TestAge_EventsAgeWhileTheAgentIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &shiftedClock{}
		o := wal.Options{Dir: t.TempDir(), Clock: clock.now}
		l, _ := openAged(t, o, day)
		appendOne(t, l, "s", "k", "old")
		time.Sleep(20 * time.Hour)
		appendOne(t, l, "s", "k", "young")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Hour) // the agent is off
		l, p := openAged(t, o, day)
		defer l.Close()
		time.Sleep(5 * time.Minute)
		if got := floorOf(p); got.Offset() != 0 {
			t.Errorf("got %+v in the first minutes, want none", got)
		}
		time.Sleep(30 * time.Minute)
		if got, want := floorOf(p), (wal.Floor{Age: 2}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		time.Sleep(20 * time.Hour)
		if got, want := floorOf(p), (wal.Floor{Age: 3}); got != want {
			t.Errorf("got %+v 20 hours later, want %+v", got, want)
		}
	})
}

func TestClock_ThatJumpsDropsNothing(t *testing.T) {
	for _, jump := range []time.Duration{-10 * day, 10 * day, -20_000 * day, 20_000 * day} {
		t.Run(jump.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock := &shiftedClock{}
				o := wal.Options{Dir: t.TempDir(), Clock: clock.now}
				l, _ := openAged(t, o, day)
				appendOne(t, l, "s", "k", "of the run before")
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				clock.jump(jump) // the clock is wrong at boot
				l, p := openAged(t, o, day)
				defer l.Close()
				appendOne(t, l, "s", "k", "with a wrong clock")
				time.Sleep(8 * time.Minute)
				clock.jump(-jump) // and is corrected
				appendOne(t, l, "s", "k", "with the right one")
				time.Sleep(12 * time.Hour)
				if got := floorOf(p); got.Offset() != 0 {
					t.Errorf("got %+v within a day, want none", got)
				}
				time.Sleep(13 * time.Hour)
				if got, want := floorOf(p), (wal.Floor{Age: 4}); got != want {
					t.Errorf("got %+v after 25 hours, want %+v", got, want)
				}
			})
		})
	}
}

// A clock that keeps jumping is never used. Events that this run appended still expire, by the monotonic clock.
func TestClock_ThatNeverStopsJumping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &shiftedClock{}
		o := wal.Options{Dir: t.TempDir(), Clock: clock.now}
		l, p := openAged(t, o, day)
		defer l.Close()
		for i := range 48 {
			appendOne(t, l, "s", "k", "an event an hour")
			time.Sleep(30 * time.Minute)
			clock.jump(time.Duration(i%7-3) * 100 * day)
			time.Sleep(30 * time.Minute)
		}
		got := floorOf(p)
		if got.Age < 23 || got.Age > 26 { // 26: the event that is exactly a day old is dropped too
			t.Errorf("got %+v after 48 hours of an event an hour, want about 24", got)
		}
		if st := p.Stat(); st.Pending.Events != 48 || l.Full() {
			t.Errorf("got %+v, full %v", st, l.Full())
		}
	})
}

func TestPolicy_ThatChangesTakesEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := openAged(t, wal.Options{Dir: t.TempDir()}, 0)
		defer l.Close()
		appendOne(t, l, "s", "k", "x")
		time.Sleep(3 * time.Hour)
		if got := floorOf(p); got.Offset() != 0 {
			t.Errorf("got %+v without a limit", got)
		}
		l.SetPolicy(maxAge(time.Hour))
		time.Sleep(time.Minute)
		if got, want := floorOf(p), (wal.Floor{Age: 2}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// If a clock that has been right for a long time jumps for a few minutes, the log does not use it during these minutes:
// the jump does not make the events of the previous run older.
func TestClock_ThatJumpsAfterLongIsNotBelieved(t *testing.T) {
	for _, jump := range []time.Duration{2 * day, 10 * day, 20_000 * day} {
		t.Run(jump.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock := &shiftedClock{}
				o := wal.Options{Dir: t.TempDir(), Clock: clock.now}
				l, _ := openAged(t, o, day)
				appendOne(t, l, "s", "k", "of the run before")
				must(t, l.Close())
				l, p := openAged(t, o, day)
				defer l.Close()
				time.Sleep(30 * time.Minute) // long enough for the clock to be used
				for range 3 {
					clock.jump(jump)
					time.Sleep(9 * time.Minute)
					if got := floorOf(p); got.Offset() != 0 {
						t.Fatalf("got %+v after the clock jumped by %v, want none", got, jump)
					}
					clock.jump(-jump)
					time.Sleep(9 * time.Minute)
				}
				if got := floorOf(p); got.Offset() != 0 {
					t.Errorf("got %+v within a day, want none", got)
				}
				time.Sleep(day)
				if got, want := floorOf(p), (wal.Floor{Age: 2}); got != want {
					t.Errorf("got %+v after a day, want %+v", got, want)
				}
			})
		})
	}
}

// A clock that jumps between two reads of one check is no more used than one that jumps between two checks.
func TestClock_ThatJumpsDuringACheckIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu goSync.Mutex
		var last time.Time
		jumps := false
		o := wal.Options{Dir: t.TempDir(), Clock: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			now := time.Now().Round(0)
			if jumps && now.Equal(last) {
				return now.Add(10 * day)
			}
			last = now
			return now
		}}
		l, _ := openAged(t, o, day)
		appendOne(t, l, "s", "k", "of the run before")
		must(t, l.Close())
		l, p := openAged(t, o, day)
		defer l.Close()
		time.Sleep(time.Minute)
		mu.Lock()
		jumps = true
		mu.Unlock()
		time.Sleep(2 * time.Hour)
		if got := floorOf(p); got.Offset() != 0 {
			t.Errorf("got %+v, want none", got)
		}
	})
}
