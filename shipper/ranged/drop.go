package ranged

import (
	"context"
	"time"

	"github.com/standpipe/standpipe/wal"
)

const (
	// maxAgeNormal is the longest time that a range keeps events that are to be dropped. They are dropped when it has ended,
	// so it is sealed at once, and cut off after that time.
	maxAgeNormal = 5 * time.Second
	// maxAgeFull is the same while the log is full: then appends to every stream wait for the drop.
	maxAgeFull = 500 * time.Millisecond
	// look is the interval at which a call or a backoff looks at the floor.
	look = 500 * time.Millisecond
)

// raiseFloor applies the cursor's floor.
func (s *Shipper) raiseFloor() {
	s.floor = s.opts.Cursor.Floor()
	switch {
	case !s.passed():
		s.passedAt = time.Time{}
	case s.passedAt.IsZero():
		s.passedAt = time.Now()
	}
}

// passed reports whether the first event of the range under way, or the first unsettled event if there is no range, is to be
// dropped.
func (s *Shipper) passed() bool {
	first := s.checkpoint
	if !s.span.empty() {
		first = max(first, s.span.first)
	}
	return s.floor.Offset() > first
}

// maxAge returns the time after which a range with events to be dropped is cut off.
func maxAge(full bool) time.Duration {
	if full {
		return maxAgeFull
	}
	return maxAgeNormal
}

// drop settles the events below the floor as dropped. There is no range under way.
func (s *Shipper) drop(ctx context.Context) error {
	return s.settleEach(ctx, s.floor.Offset(), new(wal.Held), countDropped(s.floor))
}

// countDropped returns a function that counts an event below the floor as dropped.
func countDropped(floor wal.Floor) func(e *wal.Event, add *wal.Ledger) {
	return func(e *wal.Event, add *wal.Ledger) {
		if add.Dropped == nil {
			add.Dropped = make(map[string]wal.Count)
		}
		reason := floor.Reason(e.Offset)
		add.Dropped[reason] = add.Dropped[reason].Plus(countOf(e))
	}
}

// dropStuck drops the events below the floor though a call that was cut off has not returned. The destination may store
// them.
func (s *Shipper) dropStuck() {
	s.opts.Logger.Error("a request does not return after it was cut off; events are dropped though it may store them",
		"stream", s.stream, "destination", s.opts.Cursor.Name(), "after", time.Since(s.passedAt).Round(time.Millisecond))
	defer func() { s.queue, s.next = nil, max(s.checkpoint, s.span.next) }() // the queue may have some of them
	for s.passed() {
		c := s.feed.readNow(s.checkpoint, s.opts.Cursor, new(wal.Held))
		if c.err != nil {
			return
		}
		s.span.lossy = s.span.lossy || c.lost
		if s.settleChunk(&c, s.floor.Offset(), countDropped(s.floor)); c.End {
			return
		}
	}
}
