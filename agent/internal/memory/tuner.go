package memory

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

const (
	// look is the time between two looks at the runtime.
	look = 5 * time.Second
	// idleLooks is the number of looks in a row without allocations after which an agent is idle.
	idleLooks = 3
	// quiet is the number of bytes allocated between two looks that an idle agent does not exceed; a quarter of the live
	// heap is as little.
	quiet = 1 << 20
)

// usage is the state of the Go runtime.
type usage struct {
	live      uint64 // bytes of the heap that the last collection found in use
	stacks    uint64 // bytes
	allocated uint64 // bytes since the start of the process
}

// process is the Go runtime of the process.
type process interface {
	usage() usage
	setLimit(bytes int64)
	release() // collects garbage and returns free memory to the host
}

// Tuner keeps the limit of the Go runtime of a process that only runs an agent. Its methods may be called concurrently with
// Run.
type Tuner struct {
	process process
	most    int64        // for the runtime
	goal    atomic.Int64 // of the configuration

	limit int64 // that was set last; Run's
	last  usage // Run's
	still int   // looks without allocations; Run's
	busy  bool  // memory was allocated since the last release; Run's
}

// NewTuner returns a Tuner of this process, which may take the bound. limited: another one has set the limit of the runtime,
// and the Tuner leaves it.
func NewTuner(bound Bound, limited bool) *Tuner {
	t := &Tuner{process: goRuntime{}, most: bound.Runtime(), busy: true}
	if limited {
		t.process = limitedRuntime{}
	}
	return t
}

// SetGoal sets the limit that the parts of an agent need together.
func (t *Tuner) SetGoal(goal int64) {
	t.goal.Store(goal)
	t.process.setLimit(min(goal, t.most))
}

// Run looks at the runtime until ctx ends.
func (t *Tuner) Run(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.look()
		case <-ctx.Done():
			return
		}
	}
}

func (t *Tuner) look() {
	now := t.process.usage()
	limit := min(max(t.goal.Load(), headroom(now)), t.most)
	if step := t.limit / 16; limit > t.limit+step || limit < t.limit-step { // setting it stops the program for a moment
		t.limit = limit
		t.process.setLimit(limit)
	}
	if now.allocated-t.last.allocated > max(quiet, now.live/4) {
		t.still, t.busy = 0, true
	} else {
		t.still++
	}
	t.last = now
	if t.still >= idleLooks && t.busy {
		t.busy = false
		t.process.release()
		t.last = t.process.usage()
	}
}

// headroom returns the least limit with which the collector rests while an agent is idle. A lower limit makes it collect more
// often where what is in use is most of the memory, as with many streams.
func headroom(now usage) int64 {
	inUse := int64(now.live + now.stacks)
	return inUse + inUse*3/4
}

// limitedRuntime is the runtime with a limit that another one has set.
type limitedRuntime struct{ goRuntime }

func (limitedRuntime) setLimit(int64) {}

type goRuntime struct{}

func (goRuntime) setLimit(bytes int64) { debug.SetMemoryLimit(bytes) }

// release collects twice: a sync.Pool gives up its buffers in the second collection after their last use.
func (goRuntime) release() {
	runtime.GC()
	debug.FreeOSMemory()
}

func (goRuntime) usage() usage {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/gc/heap/allocs:bytes"},
	}
	metrics.Read(samples)
	return usage{live: samples[0].Value.Uint64(), stacks: samples[1].Value.Uint64(), allocated: samples[2].Value.Uint64()}
}
