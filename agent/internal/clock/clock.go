package clock

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal/timeline"
)

const (
	// lookEvery is the interval between two looks at the clock.
	lookEvery = 5 * time.Second
	// stepLeast is the smallest step. A clock that is slewed departs by less between two looks.
	stepLeast = time.Second
	// behindLeast is how far the clock must be behind the last write to the log: a file server has a clock of its own.
	behindLeast = time.Minute
	// builtLeast is how far the clock must be behind the build: the clock of the machine that built the program may be ahead.
	builtLeast = 24 * time.Hour
)

// released is a time before this program was built.
var released = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// Keeper is the clock of the agent. New makes one, Start begins to mark times, and Run watches the clock.
type Keeper struct {
	Timelines *timeline.Table // of the log

	o    Options
	last time.Time // of the last write to the log before the start

	unset atomic.Pointer[unset] // nil: the clock is set

	// The fields below belong to Start, and then to Run.
	zero    time.Time // the time at the start of the boot, at the last look
	stepped bool      // the clock was stepped in this process
	unsaved bool      // a correction is not in the file yet
}

// unset is the state while the clock is not set. It is immutable.
type unset struct {
	number uint32    // of the timeline; 0: it could not be stored yet
	zero   time.Time // the time on the timeline when the boot started
	since  time.Duration
	reason string
}

// Options are the settings of a Keeper.
type Options struct {
	System    System
	Built     time.Time // when the program was built; zero: unknown
	Logger    hclog.Logger
	Stepped   func() // called after a step of the clock
	Corrected func() // called instead when times of this process have been corrected
}

// New returns a Keeper for the log in dataDir. It must be called before the log is opened.
func New(dataDir string, o Options) *Keeper {
	o.Built = o.Built.Add(-builtLeast)
	if o.Built.Before(released) {
		o.Built = released
	}
	return &Keeper{o: o, last: lastWrite(dataDir), Timelines: timeline.New(dataDir)}
}

// Now returns the agent's time. While the clock is not set it is a time on the timeline.
func (k *Keeper) Now() time.Time {
	if u := k.unset.Load(); u != nil {
		return u.zero.Add(k.o.System.Boot())
	}
	return k.o.System.Wall()
}

// Stamp returns the time of an event.
func (k *Keeper) Stamp() timeline.Stamp {
	u := k.unset.Load()
	if u == nil {
		return timeline.Stamp{At: k.o.System.Wall().UnixNano()}
	}
	return timeline.Stamp{At: u.zero.Add(k.o.System.Boot()).UnixNano(), Timeline: u.number}
}

// Unset returns the reason why the clock counts as not set; empty: it is set.
func (k *Keeper) Unset() (reason string) {
	if u := k.unset.Load(); u != nil {
		return u.reason
	}
	return ""
}

// Start decides whether the clock is set, after the log has been opened. Times that are taken before are not marked.
func (k *Keeper) Start() {
	k.zero = k.o.System.Wall().Round(0).Add(-k.o.System.Boot())
	if before := k.Timelines.Written(k.o.System.BootID); before.After(k.last) { // an earlier process of this boot has written since
		k.last = before
	}
	if err := k.Timelines.End(k.o.System.BootID, k.last.Add(behindLeast)); err != nil {
		k.o.Logger.Warn("timelines of earlier boots not ended", "error", err)
	}
	k.look()
	if k.unset.Load() == nil { // it was set while no agent ran
		k.correct()
	}
}

// Run watches the clock until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	steps := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := k.o.System.Steps(ctx, steps); err != nil {
			k.o.Logger.Debug("steps of the clock are noticed by looks only", "error", err, "every", lookEvery)
		}
	}()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-steps:
		case <-ticker.C:
		case <-ctx.Done():
			<-done
			return
		}
		k.look()
	}
}

// look compares the clock with the one that counts from the start of the boot, and begins or ends the timeline.
func (k *Keeper) look() {
	s := &k.o.System
	wall, boot := s.Wall().Round(0), s.Boot() // without the monotonic time, which no step changes
	zero := wall.Add(-boot)
	step := zero.Sub(k.zero)
	k.zero = zero
	if step.Abs() >= stepLeast {
		k.stepped = true
	}
	synchronized := s.Synchronized()
	if synchronized && k.Timelines.Synchronized() != s.BootID {
		if err := k.Timelines.NoteSynchronized(s.BootID); err != nil {
			k.o.Logger.Debug("synchronized clock not noted", "error", err)
		}
	}
	reason := k.reason(wall, synchronized)
	u := k.unset.Load()
	switch {
	case reason != "" && (u == nil || u.number == 0):
		k.begin(u, reason, zero, wall)
	case reason == "" && u != nil:
		k.end(u)
		k.o.Corrected()
		return
	case k.unsaved:
		k.correct()
	}
	if step.Abs() >= stepLeast {
		k.o.Logger.Info("clock stepped; destinations that wait try at once", "by", step.Round(time.Millisecond))
		k.o.Stepped()
	}
}

// reason returns why the clock counts as not set; empty: it is set.
func (k *Keeper) reason(wall time.Time, synchronized bool) string {
	s := &k.o.System
	switch noted := k.Timelines.Synchronized(); {
	case wall.Before(k.o.Built):
		return fmt.Sprintf("its time is before the build of this program, after %s", k.o.Built.UTC().Format(time.DateOnly))
	case synchronized || k.stepped:
		return ""
	case k.last.Sub(wall) >= behindLeast:
		return fmt.Sprintf("its time is before the last write to the log, %s", k.last.UTC().Format(time.DateTime))
	case noted != "" && noted != s.BootID && !s.FromRTC:
		return "the kernel does not report it as synchronized, and did in an earlier boot"
	}
	return ""
}

// begin begins the timeline, or tries again to store it.
func (k *Keeper) begin(before *unset, reason string, zero, wall time.Time) {
	u := unset{zero: zero, since: k.o.System.Boot(), reason: reason}
	if before != nil {
		u = *before
	}
	number, lineZero, err := k.Timelines.Begin(k.o.System.BootID, u.zero, wall, k.last)
	if err == nil {
		u.number, u.zero = number, lineZero
	}
	if before == nil {
		k.o.Logger.Warn("clock not set; times of events are marked, and corrected once it is set", "reason", reason, "time", wall.UTC().Format(time.DateTime))
		if err != nil {
			k.o.Logger.Warn("times of events not marked; tried again", "error", err)
		}
	}
	k.unset.Store(&u)
}

// end ends the timeline: the clock is set. No time is taken from the timeline once it has an end, also while that is stored.
func (k *Keeper) end(u *unset) {
	k.unset.Store(nil)
	k.correct()
	k.o.Logger.Info("clock set; times of events are right, and earlier ones corrected",
		"by", k.zero.Sub(u.zero).Round(time.Millisecond), "after", (k.o.System.Boot() - u.since).Round(time.Millisecond))
}

// correct stores the correction of the timelines of this boot.
func (k *Keeper) correct() {
	err := k.Timelines.Set(k.o.System.BootID, k.zero, k.o.System.Boot()+stepLeast) // Now may have begun before end
	if err != nil && !k.unsaved {
		k.o.Logger.Warn("correction of times not stored; tried again", "error", err)
	}
	k.unsaved = err != nil
}
