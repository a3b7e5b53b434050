package wal

import (
	"sync"

	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// damage finds unreadable parts of the log. For each cursor it counts the events that are lost with them.
type damage struct {
	log *Log

	mu     sync.Mutex     // held while losses are counted, or events are dropped for a parked cursor; the first in the lock order
	later  []*Cursor      // the cursors that reconcileAll left in Open
	worker sync.WaitGroup // the goroutine that reconciles them; Close waits for it
}

// unsettled counts the events in [from, to) that are in the log and that progress does not settle. lost are the
// unreadable runs that progress does not settle.
func (d *damage) unsettled(streamName string, progress *[Lanes]Progress, from, to uint64) (c Count, lost []Run, err error) {
	open := openLanes(progress, to)
	for from < to {
		select {
		case <-d.log.closing:
			return c, nil, ErrClosed
		default:
		}
		chunk, err := d.log.Read(streamName, from, open, 4<<20)
		if corrupt := segment.AsCorrupt(err); corrupt != nil {
			bad := Run{First: chunk.Next, Next: min(d.giveUp(corrupt, streamName, chunk.Next), to)}
			if bad.First < bad.Next && !settles(progress, bad) {
				lost = append(lost, bad)
			}
			from = max(bad.First, bad.Next)
			continue
		}
		if err != nil {
			return c, nil, err
		}
		for i := range chunk.Events {
			e := &chunk.Events[i]
			if e.Offset < to && !progress[e.Lane].Done(e.Offset) {
				c.Add(Count{Events: 1, Bytes: uint64(len(e.Data))})
			}
		}
		if from = chunk.Next; chunk.End {
			return c, lost, nil
		}
	}
	return c, lost, nil
}

// openLanes returns the lanes that may have unsettled events below to.
func openLanes(progress *[Lanes]Progress, to uint64) (lanes LaneSet) {
	for lane := range uint8(Lanes) {
		if progress[lane].Checkpoint < to {
			lanes = lanes.With(lane)
		}
	}
	return lanes
}

// settles reports whether every lane has settled all offsets of the run.
func settles(progress *[Lanes]Progress, run Run) bool {
	for i := range progress {
		m := Progress{Settled: []Run{run}}.With(progress[i])
		if !m.Equal(progress[i]) {
			return false
		}
	}
	return true
}

// giveUp notes that the log cannot read the stream from an offset on, and returns the offset of the next block that it
// may read. It returns from if the segment with that offset is gone.
func (d *damage) giveUp(corrupt *CorruptError, streamName string, from uint64) (next uint64) {
	seg, sp := d.log.segments.Find(streamName, from)
	if seg == nil || sp.First > from {
		return from
	}
	if next, known := d.log.segments.GivenUp(seg, streamName, from); known {
		return next
	}
	bad, known := d.log.segments.GiveUp(seg, streamName, from, sp)
	if !known {
		d.log.opts.Logger.Error("a part of the log can't be read and is given up", "segment", seg.Path,
			"stream", streamName, "first", bad.First, "next", bad.Next, "error", corrupt)
	}
	return bad.Next
}

// gapsFor counts the stream's events that compacted segments lack, if the destination has no cursor yet. No segment may
// be unlinked or compacted meanwhile.
func (d *damage) gapsFor(s *stream, destination string) (gaps Count, err error) {
	s.mu.Lock()
	known := s.cursors[destination] != nil
	s.mu.Unlock()
	if known {
		return Count{}, nil
	}
	for _, part := range d.log.segments.Parts(s.name) {
		if !part.Gapped {
			continue
		}
		there, err := d.heldOf(part.Segment, s.name, part.Span)
		if err != nil {
			return Count{}, err
		}
		gaps.Add(part.Count().Sub(there))
	}
	return gaps, nil
}

// heldOf counts the stream's events in a compacted segment. It reads a segment of an older release, which has no
// counts.
func (d *damage) heldOf(seg *liveset.Segment, name string, sp segment.Span) (there Count, err error) {
	var counts map[string]Count
	err = seg.View(func(r segment.Reader) (err error) {
		if meta := r.Bucket(segment.BucketMeta); meta != nil {
			counts, err = segment.DecodeHeld(segment.ValueOf(meta, segment.KeyGapped))
		}
		return err
	})
	if err == nil && counts != nil {
		return counts[name], nil
	}
	there, _, err = d.unsettled(name, new([Lanes]Progress), sp.First, sp.Next)
	return there, err
}
