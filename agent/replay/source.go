package replay

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// yieldPause is the time between two looks at live delivery while it has the right of way.
const yieldPause = 200 * time.Millisecond

// source is the range of a replay as the end of a log. It implements shipper.Source.
type source struct {
	shipper.Source // the log with its retained segments

	keys map[string]bool // nil: all
	// yields reports whether live delivery has the right of way.
	yields func() bool
	// ended is called once all of the range is read, or all that can be.
	ended func(failure error)
	done  context.Context // the end of the replay

	to  uint64        // the end of the range, exclusive
	end atomic.Uint64 // to, or lowered to the first offset that is gone
}

// gone is the error for events of a range that the log does not have any more.
type gone struct {
	first, next uint64 // next is the first offset behind first that the log has
	to          uint64 // the end of the range, exclusive
}

func (g *gone) Error() string {
	if g.next >= g.to {
		return fmt.Sprintf("events from offset %d up to %d, the end of the range, are gone from the log", g.first, g.to-1)
	}
	return fmt.Sprintf("events from offset %d up to %d are gone from the log; a replay may go on from offset %d", g.first, g.next-1, g.next)
}

// now returns the error as of now: more events may be gone since the replay read those that it sent last.
func (g *gone) now(log shipper.Source, stream string) *gone {
	chunk, err := log.Read(stream, g.first, wal.AllLanes, 1)
	if err != nil {
		return g // a replay from there reports it
	}
	later := *g
	later.next = max(g.next, chunk.Next)
	if len(chunk.Events) > 0 {
		later.next = max(g.next, chunk.Events[0].Offset)
	}
	return &later
}

// Next returns the end of the range.
func (s *source) Next(string) uint64 { return s.end.Load() }

// Grown returns a channel that is never closed: a range does not grow.
func (s *source) Grown(string) <-chan struct{} { return nil }

// Read returns the wanted events of the range. It reads all lanes, so that a gap in the offsets shows.
func (s *source) Read(stream string, from uint64, lanes wal.LaneSet, limit int) (wal.Chunk, error) {
	for s.yields() {
		select {
		case <-time.After(yieldPause):
		case <-s.done.Done():
			return wal.Chunk{}, s.done.Err()
		}
	}
	end := s.end.Load()
	if from >= end {
		return wal.Chunk{Next: from, End: true}, nil // the end was lowered
	}
	chunk, err := s.Source.Read(stream, from, wal.AllLanes, limit)
	corrupt, damaged := errors.AsType[*wal.CorruptError](err)
	if err != nil && !damaged {
		return chunk, err
	}
	var failure error
	next := from
	events := chunk.Events[:0]
	for _, e := range chunk.Events {
		if e.Offset >= end || e.Offset != next {
			break
		}
		next++
		if lanes.Has(e.Lane) && (s.keys == nil || s.keys[e.Key]) {
			events = append(events, e)
		}
	}
	behind := chunk.Next // the first offset behind a gap
	if n := int(next - from); n < len(chunk.Events) {
		behind = chunk.Events[n].Offset
	}
	switch {
	case damaged:
		failure = fmt.Errorf("a part of the log from offset %d on is damaged: %s", from, corrupt.Reason)
	case next < end && next < behind:
		failure = &gone{first: next, next: behind, to: s.to}
	}
	if failure != nil {
		end = next
		s.end.Store(end)
	}
	if next >= end {
		s.ended(failure)
	}
	return wal.Chunk{Events: events, Next: next, End: next >= end}, nil
}
