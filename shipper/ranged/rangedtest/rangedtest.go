package rangedtest

import (
	"context"
	"testing"
)

// few is the number of events of most tests: enough for several ranges.
const few = 16

// Run runs the suite. open starts a fake and its declaration; it is called for each run.
func Run(t *testing.T, open func(t *testing.T) Target) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, func(*testing.T) Target)
	}{
		{"EachEventArrivesInOrder", arrives},
		{"RequestFails", requestFails},
		{"KilledAtAnyStep", killed},
		{"FaultsAndKills", faultsAndKills},
		{"AbortDiscards", abortDiscards},
		{"LargestEvent", largest},
		{"ShapeIsSound", shapeIsSound},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

// runs returns the number of seeds, which -short lowers.
func runs(most int) uint64 {
	if testing.Short() {
		most = max(most/5, 1)
	}
	return uint64(most)
}

// end fails the test with the seed if anything has failed.
func (r *run) end(seed uint64) {
	r.t.Helper()
	if r.t.Failed() {
		r.t.Fatalf("seed %d, crash at step %d of %d", seed, r.crashAt, r.steps)
	}
}

// arrives ships events of any number and size, some of which the destination rejects.
func arrives(t *testing.T, open func(*testing.T) Target) {
	for seed := range runs(10) {
		r := newRun(t, open(t), seed, 1+int(seed)*5)
		rejected := make(map[uint64]bool)
		for i := range r.events {
			if r.target.Reject != nil && r.r.IntN(8) == 0 {
				r.target.Reject(&r.events[i])
				rejected[r.events[i].Offset] = true
			}
		}
		r.deliver()
		r.check(rejected)
		r.end(seed)
	}
}

// requestFails lets each request fail in each way.
func requestFails(t *testing.T, open func(*testing.T) Target) {
	target := open(t)
	if target.check(t); len(target.Faults) == 0 {
		t.Skip("the destination confirms nothing")
	}
	for _, f := range target.Faults {
		t.Run(f.String(), func(t *testing.T) {
			for n := 1; ; n++ {
				r := newRun(t, open(t), uint64(n), few)
				r.fail(n, f)
				r.deliver()
				r.check(nil)
				r.end(uint64(n))
				if r.failed == 0 {
					if n == 1 {
						t.Fatal("no request has met the fault")
					}
					break
				}
			}
		})
	}
}

// killed kills the process at each step.
func killed(t *testing.T, open func(*testing.T) Target) {
	for seed := range runs(1) {
		for step := 1; ; step++ {
			r := newRun(t, open(t), seed, few)
			r.crashAt = step
			r.deliver()
			r.check(nil)
			r.end(seed)
			if r.steps < step {
				break
			}
		}
	}
}

// faultsAndKills draws many of both.
func faultsAndKills(t *testing.T, open func(*testing.T) Target) {
	for seed := range runs(8) {
		r := newRun(t, open(t), seed, 2*few)
		for life := 0; ; life++ {
			if life > mostTries {
				t.Fatalf("seed %d: not delivered after %d lives", seed, life)
			}
			if life < 10 {
				r.crashAt = r.steps + 1 + r.r.IntN(20)
				if faults := r.target.Faults; len(faults) > 0 {
					r.fail(1+r.r.IntN(12), faults[r.r.IntN(len(faults))])
				}
			}
			if r.live() {
				break
			}
		}
		r.check(nil)
		r.end(seed)
	}
}

// abortDiscards aborts a range with events, sealed or not. The same sink goes on, or another one after a stop.
func abortDiscards(t *testing.T, open func(*testing.T) Target) {
	for seed := range runs(10) {
		r := newRun(t, open(t), seed, few)
		s := r.target.Open()
		r.call("Recover", func(ctx context.Context) {
			if _, err := s.Recover(ctx, 1, nil); err != nil {
				t.Error(err)
			}
		})
		if !s.Due().IsZero() {
			t.Error("an empty range is due")
		}
		last, _ := r.fill(s)
		if seed%2 == 0 && last > 0 {
			if state := s.Seal(); state != nil {
				r.memory.state = state
				r.sync()
			}
		}
		r.call("Abort", s.Abort)
		if seed%4 < 2 {
			if !r.liveOn(s) {
				t.Error("the events are not delivered after an Abort")
			}
		} else if err := s.Close(); err != nil {
			t.Error(err)
		}
		r.deliver()
		r.check(nil)
		r.end(seed)
	}
}

// largest ships the largest event that the shape allows, between small ones.
func largest(t *testing.T, open func(*testing.T) Target) {
	r := newRun(t, open(t), 1, few)
	if r.target.OpenLarge != nil {
		r.target.Open = r.target.OpenLarge
	}
	s := r.target.Open()
	shape := s.Shape()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	e := &r.events[few/2]
	if most := shape.Room(e); most < len(e.Data) {
		t.Fatalf("an event of %d bytes does not fit a shape with space for %d", len(e.Data), most)
	} else {
		*e = r.event(e.Offset, most)
	}
	r.deliver()
	r.check(nil)
	r.end(1)
}

func shapeIsSound(t *testing.T, open func(*testing.T) Target) {
	target := open(t)
	s := target.Open()
	defer s.Close()
	if got := s.Shape(); got.MaxRecord < 1 || got.BilledStep < 1 || got.Framing == "" {
		t.Errorf("got %+v", got)
	}
}
