// Package runs computes with the runs of settled events of a lane. All are ascending and do not overlap.
package runs

import (
	"slices"

	"github.com/standpipe/standpipe/wal"
)

// Beyond returns the runs that end beyond offset. They lie in runs.
func Beyond(runs []wal.Run, offset uint64) []wal.Run {
	for len(runs) > 0 && runs[0].Next <= offset {
		runs = runs[1:]
	}
	if len(runs) == 0 {
		return nil
	}
	return runs
}

// Settled returns the runs of the events that are done, beyond the first that is not. done[i] belongs to events[i], and their
// offsets rise. Events between two that are done, if events has none of them, belong to other lanes or are settled too, so
// both are one run.
func Settled(events []wal.Event, done []bool) (runs []wal.Run) {
	first := slices.Index(done, false)
	if first < 0 {
		return nil
	}
	for i := first; i < len(events); i++ {
		if !done[i] {
			continue
		}
		offset := events[i].Offset
		if done[i-1] && len(runs) > 0 {
			runs[len(runs)-1].Next = offset + 1
			continue
		}
		runs = append(runs, wal.Run{First: offset, Next: offset + 1})
	}
	return runs
}

// Union returns the runs of both.
func Union(a, b []wal.Run) []wal.Run {
	return wal.Progress{Settled: a}.With(wal.Progress{Settled: b}).Settled
}
