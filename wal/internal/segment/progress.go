package segment

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// Progress is the progress of one lane at a destination.
type Progress struct {
	// Checkpoint: every event of the lane with a smaller offset is settled.
	Checkpoint uint64
	// Settled are the runs of offsets beyond Checkpoint in which the lane's events are settled too, ascending. A batch
	// that failed in part leaves such runs.
	Settled []Run
}

// Run is the offsets [First, Next).
type Run struct{ First, Next uint64 }

// String formats the run with its last offset, such as "11-20", or "35" for a single offset.
func (r Run) String() string {
	if r.Next <= r.First+1 {
		return strconv.FormatUint(r.First, 10)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Next-1)
}

// Done reports whether the lane's event at offset is settled.
func (m *Progress) Done(offset uint64) bool {
	if offset < m.Checkpoint {
		return true
	}
	for _, r := range m.Settled {
		if offset < r.Next {
			return offset >= r.First
		}
	}
	return false
}

// End returns the first offset beyond all settled events.
func (m *Progress) End() uint64 {
	if n := len(m.Settled); n > 0 {
		return m.Settled[n-1].Next
	}
	return m.Checkpoint
}

// Equal reports whether m and o are equal.
func (m Progress) Equal(o Progress) bool {
	return m.Checkpoint == o.Checkpoint && slices.Equal(m.Settled, o.Settled)
}

// With returns the union of the settled events of m and o.
func (m Progress) With(o Progress) Progress {
	if m.Checkpoint >= o.End() || m.Equal(o) {
		return m
	}
	m.Checkpoint = max(m.Checkpoint, o.Checkpoint)
	runs := slices.Concat(m.Settled, o.Settled)
	slices.SortFunc(runs, func(a, b Run) int { return cmp.Compare(a.First, b.First) })
	m.Settled = nil
	for _, r := range runs {
		switch n := len(m.Settled); {
		case r.Next <= m.Checkpoint:
		case r.First <= m.Checkpoint:
			m.Checkpoint = r.Next
		case n > 0 && r.First <= m.Settled[n-1].Next:
			m.Settled[n-1].Next = max(m.Settled[n-1].Next, r.Next)
		default:
			m.Settled = append(m.Settled, r)
		}
	}
	return m
}
