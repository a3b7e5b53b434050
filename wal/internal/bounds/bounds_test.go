package bounds_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// A clock that jumps is even again only once it has run without a jump for the whole duration.
func TestClock_IsEvenUntilItJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead time.Duration
		c := bounds.NewClock(func() time.Time { return time.Now().Add(ahead) })
		run := func(d time.Duration) {
			for range d / time.Second {
				time.Sleep(time.Second)
				c.Look(time.Now())
			}
		}
		if run(time.Minute); !c.EvenFor(time.Minute) || c.EvenFor(2*time.Minute) {
			t.Error("got another result than one even minute")
		}
		ahead = -time.Hour
		if run(30 * time.Second); c.EvenFor(30*time.Second) || !c.EvenFor(29*time.Second) {
			t.Error("got another result than 29 even seconds after the jump")
		}
		if want := time.Now().Add(ahead); !c.Wall.Equal(want) {
			t.Errorf("got %s, want %s", c.Wall, want)
		}
	})
}

// Events are too old once they are older than MaxAge, and at most two steps late.
func TestAges_FindOldEvents(t *testing.T) {
	const maxAge = 64 * time.Minute
	var a bounds.Ages
	begin, next := time.Now(), uint64(101)
	appended := map[uint64]time.Time{}
	for at := begin; at.Before(begin.Add(5 * maxAge)); at = at.Add(10 * time.Second) {
		old := a.Look(next, at, maxAge)
		for offset, when := range appended {
			switch age := at.Sub(when); {
			case offset < old && age < maxAge:
				t.Fatalf("event %d counts as old after %s", offset, age)
			case offset >= old && age > maxAge+2*bounds.Step(maxAge)+10*time.Second:
				t.Fatalf("event %d does not count as old after %s", offset, age)
			}
			if offset < old {
				delete(appended, offset)
			}
		}
		appended[next] = at
		next++
	}
	if a.Begin != 101 {
		t.Errorf("got begin %d, want 101", a.Begin)
	}
}

func TestFloor_NeverFalls(t *testing.T) {
	f := bounds.Floor{Age: 5}.Raised(bounds.Floor{Full: 9}).Raised(bounds.Floor{Age: 2, Full: 3})
	if f != (bounds.Floor{Age: 5, Full: 9}) || f.Offset() != 9 || f.Reason(4) != bounds.DroppedAge || f.Reason(5) != bounds.DroppedFull {
		t.Errorf("got %+v, offset %d, reasons %s and %s", f, f.Offset(), f.Reason(4), f.Reason(5))
	}
}

// The sum stays right while neighbours are joined, and while events are removed.
func TestOverhead_SumsRuns(t *testing.T) {
	var o bounds.Overhead
	const runs, events, bytes = 1000, 10, 70
	for i := range uint64(runs) {
		if i%2 == 0 && i+1 < runs { // appends that end together come out of order
			o.Add(segment.Run{First: 1 + (i+1)*events, Next: 1 + (i+2)*events}, bytes)
			o.Add(segment.Run{First: 1 + i*events, Next: 1 + (i+1)*events}, bytes)
		}
	}
	if got := o.In(segment.Run{First: 1, Next: 1 + runs*events}); got != runs*bytes {
		t.Errorf("got %d bytes, want %d", got, runs*bytes)
	}
	if got := o.In(segment.Run{First: 1, Next: 1 + runs*events/2}); got < runs*bytes/2-bytes || got > runs*bytes/2+bytes {
		t.Errorf("got %d bytes in half of it, want about %d", got, runs*bytes/2)
	}
	if o.Remove(1 + runs*events); !o.Empty() {
		t.Error("got runs left")
	}
	e := &segment.Event{Data: make([]byte, 100)}
	if small, large := bounds.OverheadOf(e, 150), bounds.OverheadOf(e, 200); small != 0 || large != 36 {
		t.Errorf("got %d and %d, want 0 and 36", small, large)
	}
	if got := bounds.HeldBytes(segment.Count{Events: 2, Bytes: 10}); got != 138 {
		t.Errorf("got %d held, want 138", got)
	}
}
