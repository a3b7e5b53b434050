package wal_test

import (
	"errors"
	"slices"
	goSync "sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// commitTimes records the commits of a log in the bubble's time.
type commitTimes struct {
	start time.Time

	mu      goSync.Mutex
	commits []time.Duration // of all commits, with or without events
	events  []int           // in each commit that held some
}

// openTimed opens a log whose commits are recorded from now on.
func openTimed(t *testing.T, o wal.Options) (*wal.Log, *commitTimes) {
	t.Helper()
	line := &commitTimes{start: time.Now()}
	o.Dir = t.TempDir()
	o.OnCommit = func(c wal.CommitInfo) {
		line.mu.Lock()
		defer line.mu.Unlock()
		line.events = append(line.events, c.Events)
	}
	return open(t, o.WithFaults(nil, func() error {
		line.mu.Lock()
		defer line.mu.Unlock()
		line.commits = append(line.commits, time.Since(line.start))
		return nil
	})), line
}

// want checks the times of all commits so far, and the events in those that held some.
func (line *commitTimes) want(t *testing.T, commits []time.Duration, events ...int) {
	t.Helper()
	synctest.Wait()
	line.mu.Lock()
	defer line.mu.Unlock()
	if !slices.Equal(line.commits, commits) || !slices.Equal(line.events, events) {
		t.Errorf("got commits at %v with %v events, want %v with %v", line.commits, line.events, commits, events)
	}
}

// patient submits an event that waits for up to linger.
func patient(t *testing.T, l *wal.Log, linger time.Duration) *wal.Ticket {
	t.Helper()
	ticket, err := l.Submit(t.Context(), &wal.Batch{Stream: "s", Linger: linger, Events: []wal.Event{event("k", "patient")}})
	must(t, err)
	return ticket
}

func TestLinger_PatientEventsShareTheNextCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, line := openTimed(t, wal.Options{})
		patient(t, l, 10*time.Second)
		time.Sleep(300 * time.Millisecond)
		patient(t, l, time.Second)
		line.want(t, nil)
		if a, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", "now")}}); a.First != 3 || err != nil {
			t.Errorf("got %+v, %v, want offset 3", a, err)
		}
		line.want(t, []time.Duration{300 * time.Millisecond}, 3)
		time.Sleep(time.Minute)
		line.want(t, []time.Duration{300 * time.Millisecond}, 3)
	})
}

// The event with the earliest deadline is the one that counts, whatever the order of submission.
func TestLinger_EndsWithTheEarliestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, line := openTimed(t, wal.Options{CommitLinger: 400 * time.Millisecond})
		patient(t, l, time.Second)
		time.Sleep(100 * time.Millisecond)
		patient(t, l, 0)
		patient(t, l, 5*time.Second)
		time.Sleep(time.Minute)
		line.want(t, []time.Duration{500 * time.Millisecond}, 3)
		patient(t, l, time.Second)
		time.Sleep(time.Minute)
		line.want(t, []time.Duration{500 * time.Millisecond, time.Minute + 1100*time.Millisecond}, 3, 1)
	})
}

// Patient events do not gather in memory without a bound.
func TestLinger_EndsOnceTheEventsFillACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, line := openTimed(t, wal.Options{})
		n := 0
		for last := patient(t, l, time.Hour); n < 4096; last = patient(t, l, time.Hour) {
			n++
			synctest.Wait()
			select {
			case <-last.Done():
				line.want(t, []time.Duration{0}, n)
				return
			default:
			}
		}
		t.Errorf("%d events wait in memory", n)
	})
}

func TestLinger_EndsWhenSomebodyWaits(t *testing.T) {
	for name, hurry := range map[string]func(l *wal.Log, ticket *wal.Ticket){
		"ticket": func(_ *wal.Log, ticket *wal.Ticket) { ticket.Hurry() },
		"log":    func(l *wal.Log, _ *wal.Ticket) { l.Hurry() },
		"close":  func(l *wal.Log, _ *wal.Ticket) { must(t, l.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer wantWithin(t, time.Now(), 0)
				l, _ := openTimed(t, wal.Options{})
				ticket := patient(t, l, time.Hour)
				hurry(l, ticket)
				<-ticket.Done()
				if a, err := ticket.Result(); a.First != 1 || err != nil {
					t.Errorf("got %+v, %v, want offset 1", a, err)
				}
				if name == "log" {
					<-patient(t, l, time.Hour).Done()
				}
			})
		})
	}
}

// A checkpoint takes batches along that have waited for half of their time, and no others: each delivery would cause a commit
// again.
func TestCheckpoint_TakesWaitingEventsAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, line := openTimed(t, wal.Options{CheckpointInterval: time.Second})
		p, err := l.OpenCursor("s", "d")
		must(t, err)
		time.Sleep(10*time.Second - time.Since(line.start))
		line.mu.Lock()
		line.commits = nil // of the cursor itself
		line.mu.Unlock()
		patient(t, l, 2*time.Second)
		must(t, p.Settle(wal.Settlement{State: []byte("a")}))
		time.Sleep(time.Minute)
		line.want(t, []time.Duration{10800 * time.Millisecond, 12 * time.Second}, 1)
		patient(t, l, time.Second)
		time.Sleep(time.Millisecond)
		must(t, p.Settle(wal.Settlement{State: []byte("b")}))
		time.Sleep(time.Minute)
		line.want(t, []time.Duration{10800 * time.Millisecond, 12 * time.Second, 70801 * time.Millisecond}, 1, 1)
	})
}

// The count of failed requests needs no commit of its own while the destination is tried again and again.
func TestCheckpoint_OfFailedRequestsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, line := openTimed(t, wal.Options{})
		p, err := l.OpenCursor("s", "d")
		must(t, err)
		time.Sleep(time.Second)
		line.mu.Lock()
		line.commits = nil // of the cursor itself
		line.mu.Unlock()
		for range 40 {
			must(t, p.Settle(wal.Settlement{Add: wal.Ledger{Requests: 1}}))
			time.Sleep(time.Second)
		}
		line.want(t, nil)
		time.Sleep(time.Minute)
		line.want(t, []time.Duration{49 * time.Second})
	})
}

// A settlement waits for the next append, and is stored alone when none comes.
func TestCheckpoint_SharesTheCommitOfAnAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 10 * time.Second
		l, line := openTimed(t, wal.Options{CheckpointInterval: interval})
		p, err := l.OpenCursor("s", "d")
		must(t, err)
		var stored []string // under line.mu
		p.Keep(func(state []byte) {
			line.mu.Lock()
			defer line.mu.Unlock()
			stored = append(stored, string(state))
		})
		wantStored := func(want ...string) {
			t.Helper()
			synctest.Wait()
			line.mu.Lock()
			defer line.mu.Unlock()
			if !slices.Equal(stored, want) {
				t.Errorf("got the checkpoints %q, want %q", stored, want)
			}
		}
		appendOne(t, l, "s", "k", "x")
		time.Sleep(time.Second)
		line.mu.Lock()
		line.commits, line.events = nil, nil // of the first event, and of the cursor
		line.mu.Unlock()

		settle := func(n string) { must(t, p.Settle(wal.Settlement{State: []byte(n)})) }
		var want []time.Duration
		for i := range 8 {
			want = append(want, time.Since(line.start))
			_, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", "x")}})
			must(t, err)
			time.Sleep(30 * time.Millisecond)
			settle(string(rune('0' + i)))
			time.Sleep(970 * time.Millisecond)
		}
		wantStored("4") // one, with the fifth append
		line.want(t, want, 1, 1, 1, 1, 1, 1, 1, 1)

		time.Sleep(interval)
		wantStored("4", "7")
		line.mu.Lock()
		defer line.mu.Unlock()
		if n := len(line.commits); n != 9 {
			t.Errorf("got %d commits, want one more", n)
		}
	})
}

// Whatever the interval: the bytes that an append waits for are freed soon, also those that were settled before the log
// was full.
func TestCheckpoint_OfAFullLogDoesNotWait(t *testing.T) {
	big := &wal.Batch{Stream: "s", Events: []wal.Event{event("k", string(make([]byte, 4000)))}}

	// Find the append that begins the last segment.
	l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: wal.MinMaxSize})
	last, n := 0, 0
	for segments := 0; ; n++ {
		if _, err := l.Append(t.Context(), big); errors.Is(err, wal.ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if now := l.Stat().Segments; now != segments {
			last, segments = n, now
		}
	}

	synctest.Test(t, func(t *testing.T) {
		l, _ := openTimed(t, wal.Options{MaxSize: wal.MinMaxSize, OnFull: wal.Block, CheckpointInterval: time.Hour})
		p, err := l.OpenCursor("s", "d")
		must(t, err)
		for i := range n + 20 {
			if i == last+2 {
				time.Sleep(time.Second) // after the checkpoint of the new segment
				settleUpTo(p, l.Next("s"), wal.Count{Events: uint64(i), Bytes: uint64(i) * 4000})
				time.Sleep(time.Second)
			}
			start := time.Now()
			_, err := l.Append(t.Context(), big)
			must(t, err)
			if took := time.Since(start); took > wal.CheckpointInterval {
				t.Fatalf("append %d was stored after %v", i, took)
			}
		}
	})
}

// A kill right after a command of an operator, or after the first event of a stream, must not undo the new state of the
// cursor: these changes do not wait for the interval.
func TestCheckpoint_OfAnOperatorIsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, line := openTimed(t, wal.Options{CheckpointInterval: time.Hour})
		p, err := l.OpenCursor("s", "d")
		must(t, err)
		time.Sleep(time.Minute)
		_, err = l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", "x")}})
		must(t, err)
		want := []time.Duration{time.Minute, time.Minute}
		line.want(t, want, 1)
		for _, act := range []func(){func() { p.Pause(time.Now()) }, p.Park} {
			time.Sleep(time.Minute)
			want = append(want, time.Since(line.start))
			act()
			line.want(t, want, 1)
		}
	})
}
