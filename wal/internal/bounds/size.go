package bounds

import (
	"slices"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// heldExtra is the number of bytes that an event counts as in a stream's budget in addition to its payload: for its key
// and its frame.
const heldExtra = 64

// HeldBytes returns the bytes that the events take of a stream's budget, without their overhead.
func HeldBytes(c segment.Count) int64 { return int64(c.Bytes + heldExtra*c.Events) }

// Overhead counts the bytes of a stream's events that HeldBytes leaves out: attributes and long keys. The ledger counts
// payloads only, so the overhead is kept beside it, in memory, as runs of offsets. When there are many runs, neighbours
// are joined, so that the memory does not grow with the backlog. Events that were appended before the log was opened
// are not included.
type Overhead struct {
	runs []overheadRun // ascending
}

type overheadRun struct {
	segment.Run
	bytes int64
}

// maxOverheadRuns bounds the number of runs: one run is at most about a thirtieth of the whole.
const maxOverheadRuns = 64

// OverheadOf returns the overhead of one event, whose frame takes size bytes.
func OverheadOf(e *segment.Event, size int) int64 { return int64(max(0, size-len(e.Data)-heldExtra)) }

// Add records the overhead of the events of r. Appends that end together may come out of order.
func (o *Overhead) Add(r segment.Run, bytes int64) {
	if bytes == 0 {
		return
	}
	at := len(o.runs)
	for at > 0 && o.runs[at-1].First > r.First {
		at--
	}
	o.runs = slices.Insert(o.runs, at, overheadRun{r, bytes})
	if len(o.runs) < maxOverheadRuns {
		return
	}
	for i := range len(o.runs) / 2 {
		a, b := o.runs[2*i], o.runs[2*i+1]
		o.runs[i] = overheadRun{segment.Run{First: a.First, Next: max(a.Next, b.Next)}, a.bytes + b.bytes}
	}
	o.runs = o.runs[:len(o.runs)/2]
}

// Remove removes the runs that end at or before next.
func (o *Overhead) Remove(next uint64) {
	o.runs = slices.DeleteFunc(o.runs, func(r overheadRun) bool { return r.Next <= next })
}

// In returns the overhead of the events of r, evenly spread within a run.
func (o *Overhead) In(r segment.Run) int64 {
	sum := 0.0
	for _, run := range o.runs {
		if first, next := max(run.First, r.First), min(run.Next, r.Next); first < next {
			sum += float64(run.bytes) * float64(next-first) / float64(run.Next-run.First)
		}
	}
	return int64(sum)
}

// Empty reports whether there is no overhead.
func (o *Overhead) Empty() bool { return len(o.runs) == 0 }
