package clock_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/internal/clock"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// host is a host whose clock is off by a duration from that of the test. One host is one boot.
type host struct {
	id      string
	booted  time.Time
	fromRTC bool

	mu           sync.Mutex
	off          time.Duration
	synchronized bool
	steps        chan<- struct{}
}

// boot starts a host whose clock has the given time.
func boot(id string, at time.Time) *host {
	return &host{id: id, booted: time.Now(), off: time.Until(at)}
}

func (h *host) system() clock.System {
	return clock.System{
		BootID: h.id, FromRTC: h.fromRTC,
		Wall: func() time.Time {
			h.mu.Lock()
			defer h.mu.Unlock()
			return time.Now().Add(h.off)
		},
		Boot: func() time.Duration { return time.Since(h.booted) },
		Synchronized: func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.synchronized
		},
		Steps: func(ctx context.Context, steps chan<- struct{}) error {
			h.mu.Lock()
			h.steps = steps
			h.mu.Unlock()
			<-ctx.Done()
			return nil
		},
	}
}

// set steps the clock to the right time.
func (h *host) set() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.off = 0
	if h.steps != nil {
		h.steps <- struct{}{}
	}
}

// run is an agent's clock until stop.
type run struct {
	*clock.Keeper
	log   bytes.Buffer
	onLog func(line string) // nil: none
	steps int
	stop  func()
}

// Write takes a line of the agent log.
func (r *run) Write(line []byte) (int, error) {
	if r.onLog != nil {
		r.onLog(string(line))
	}
	return r.log.Write(line)
}

func start(t *testing.T, dir string, h *host) *run {
	t.Helper()
	r := new(run)
	r.Keeper = clock.New(dir, clock.Options{
		System: h.system(), Built: built, Stepped: func() { r.steps++ }, Corrected: func() { r.steps++ },
		Logger: hclog.New(&hclog.LoggerOptions{Output: r, DisableTime: true}),
	})
	testkit.Must(t, r.Timelines.Load())
	r.Start()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { r.Run(ctx) })
	r.stop = func() {
		cancel()
		group.Wait()
	}
	synctest.Wait()
	return r
}

// take returns an event with the present time, and the time that it must get.
func (r *run) take() (wal.Event, time.Time) {
	var e wal.Event
	r.Stamp().On(&e)
	return e, time.Now()
}

// expect fails unless the event has the time when it is read.
func (r *run) expect(t *testing.T, e wal.Event, want time.Time) {
	t.Helper()
	r.Timelines.Correct(&e)
	if got := time.Unix(0, e.Time); !got.Equal(want) || e.Timeline != 0 {
		t.Errorf("got %s on the timeline %d, want %s on none", got.UTC(), e.Timeline, want.UTC())
	}
}

var (
	epoch = time.Unix(0, 0)
	built = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
)

// inYear runs f at a time after the build. Bubbles begin in 2000.
func inYear(t *testing.T, f func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(built.AddDate(0, 1, 0)))
		f(t)
	})
}

// A host boots in 1970. Events of two agents in that boot get their right times once the clock is set, and those that
// come later need no correction. There is one line when it begins, and one when it ends.
func TestKeeper_CorrectsTimesOfABootThatBeganIn1970(t *testing.T) {
	inYear(t, func(t *testing.T) {
		dir := t.TempDir()
		h := boot("a", epoch)
		time.Sleep(time.Minute)
		first := start(t, dir, h)
		e1, at1 := first.take()
		if e1.Timeline == 0 || first.Unset() == "" {
			t.Errorf("got an event on no timeline, and %q as the reason", first.Unset())
		}
		time.Sleep(3 * 24 * time.Hour)
		first.stop()

		second := start(t, dir, h)
		e2, at2 := second.take()
		if got := time.Duration(e2.Time - e1.Time); got != at2.Sub(at1) {
			t.Errorf("got %s between the events, want %s", got, at2.Sub(at1))
		}
		before := e2
		if second.Timelines.Correct(&before); before.Timeline == 0 {
			t.Error("the time is corrected before the clock is set")
		}
		h.set()
		synctest.Wait()
		e3, at3 := second.take()
		second.expect(t, e1, at1)
		second.expect(t, e2, at2)
		second.expect(t, e3, at3)
		if second.steps != 1 || second.Unset() != "" || e3.Timeline != 0 {
			t.Errorf("got %d steps, reason %q and the timeline %d, want 1, none and 0", second.steps, second.Unset(), e3.Timeline)
		}
		second.stop()
		log := second.log.String()
		for _, line := range []string{"clock not set", "clock set"} {
			if strings.Count(log, line+";") != 1 {
				t.Errorf("got the log lines %q, want one with %q", log, line)
			}
		}

		third := start(t, dir, boot("b", time.Now())) // the correction is on disk
		third.expect(t, e1, at1)
		third.expect(t, e2, at2)
		third.stop()
	})
}

// The clock is set while no agent runs: the next agent of that boot corrects the times. An agent of a later boot cannot, and
// the events keep their mark.
func TestKeeper_CorrectsInTheSameBootOnly(t *testing.T) {
	for _, same := range []bool{true, false} {
		inYear(t, func(t *testing.T) {
			dir := t.TempDir()
			h := boot("a", epoch)
			r := start(t, dir, h)
			e, at := r.take()
			r.stop()
			time.Sleep(time.Hour)
			h.off = 0
			if !same {
				h = boot("b", time.Now())
			}
			r = start(t, dir, h)
			defer r.stop()
			if same {
				r.expect(t, e, at)
			} else if r.Timelines.Correct(&e); e.Timeline == 0 {
				t.Errorf("got %s, want an uncertain time", time.Unix(0, e.Time))
			}
			if r.Unset() != "" {
				t.Errorf("got the reason %q, want none", r.Unset())
			}
		})
	}
}

// A block that is stored while the correction is being written gets the right time too: with a time beyond the end of the
// timeline it would count as old as 1970, and its events would be dropped by age.
func TestKeeper_TimesWhileTheCorrectionIsStored(t *testing.T) {
	inYear(t, func(t *testing.T) {
		dir := t.TempDir()
		h := boot("a", epoch)
		r := start(t, dir, h)
		defer r.stop()
		var block time.Time
		testkit.Must(t, os.Mkdir(filepath.Join(dir, "clock.json.new"), 0o700)) // the write fails, and is logged
		r.onLog = func(line string) {
			if strings.Contains(line, "correction of times not stored") {
				time.Sleep(2 * time.Second)
				block = r.Now()
			}
		}
		h.set()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got, known := r.Timelines.Time(block); !known || !got.Equal(time.Now()) {
			t.Errorf("got %s, known: %v, want %s", got.UTC(), known, time.Now().UTC())
		}
	})
}

// A clock that begins with a saved time counts as not set if the log was written later, or if the kernel does not report the
// synchronized clock of an earlier boot. A host that never had one, and one with a battery, raise no alarm.
func TestKeeper_SavedTimes(t *testing.T) {
	for _, c := range []struct {
		name                   string
		behind                 time.Duration // the log was written so much later than the clock's time
		noted, rtc, inStep, on bool          // inStep: the kernel reports a synchronized clock; on: in the same boot
		want                   string
	}{
		{name: "no log"},
		{name: "written later", behind: time.Hour, want: "before the last write"},
		{name: "written a little later", behind: 30 * time.Second},
		{name: "written later, synchronized", behind: time.Hour, inStep: true},
		{name: "was synchronized", noted: true, want: "in an earlier boot"},
		{name: "was synchronized, battery", noted: true, rtc: true},
		{name: "was synchronized in this boot", noted: true, on: true},
		{name: "synchronized again", noted: true, inStep: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inYear(t, func(t *testing.T) {
				dir := t.TempDir()
				if c.noted {
					h := boot("a", time.Now())
					h.synchronized = true
					start(t, dir, h).stop()
				}
				h := boot("b", time.Now().Add(-time.Hour))
				if c.on {
					h.id = "a"
				}
				h.fromRTC, h.synchronized = c.rtc, c.inStep
				if c.behind != 0 {
					segment := filepath.Join(dir, "wal", "0000000000000001.seg")
					testkit.Must(t, os.Mkdir(filepath.Dir(segment), 0o700))
					testkit.Must(t, os.WriteFile(segment, nil, 0o600))
					written := time.Now().Add(h.off + c.behind)
					testkit.Must(t, os.Chtimes(segment, written, written))
				}
				r := start(t, dir, h)
				defer r.stop()
				if got := r.Unset(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
					t.Fatalf("got the reason %q, want %q", got, c.want)
				}
				e, at := r.take()
				h.set()
				synctest.Wait()
				if c.want != "" {
					r.expect(t, e, at)
				}
				if r.Unset() != "" || r.steps != 1 {
					t.Errorf("after the step: got the reason %q and %d steps, want none and 1", r.Unset(), r.steps)
				}
			})
		})
	}
}

// A clock that is before the last write stays not set for the next agent of the boot, although the first one has written to the
// same file since, with the wrong time.
func TestKeeper_LastWriteOutlivesLaterWrites(t *testing.T) {
	inYear(t, func(t *testing.T) {
		dir := t.TempDir()
		h := boot("a", time.Now().Add(-2*time.Hour))
		segment := filepath.Join(dir, "wal", "0000000000000001.seg")
		testkit.Must(t, os.Mkdir(filepath.Dir(segment), 0o700))
		testkit.Must(t, os.WriteFile(segment, nil, 0o600))
		testkit.Must(t, os.Chtimes(segment, time.Now(), time.Now()))
		first := start(t, dir, h)
		e, at := first.take()
		first.stop()
		testkit.Must(t, os.Chtimes(segment, first.Now(), first.Now()))

		second := start(t, dir, h)
		defer second.stop()
		if got := second.Unset(); !strings.Contains(got, "before the last write") {
			t.Errorf("got the reason %q, want the last write", got)
		}
		h.set()
		synctest.Wait()
		second.expect(t, e, at)
	})
}

// A step is noticed within a look where the kernel reports none. A clock that is slewed raises no alarm.
func TestKeeper_NoticesStepsByLooks(t *testing.T) {
	inYear(t, func(t *testing.T) {
		h := boot("a", time.Now())
		r := start(t, t.TempDir(), h)
		for range 100 {
			time.Sleep(5 * time.Second)
			h.mu.Lock()
			h.off += 400 * time.Millisecond
			h.mu.Unlock()
		}
		if r.steps != 0 {
			t.Errorf("slewed: got %d steps, want 0", r.steps)
		}
		h.mu.Lock()
		h.off -= time.Hour
		h.mu.Unlock()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if r.steps != 1 || r.Unset() != "" {
			t.Errorf("stepped: got %d steps and the reason %q, want 1 and none", r.steps, r.Unset())
		}
		r.stop()
	})
}
