package loss

import (
	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/reader"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Counter counts the events that a log holds. It has no state.
type Counter struct {
	Segments *liveset.Set
	Reader   *reader.Reader
	Closing  <-chan struct{} // closed when the log closes
	Logger   hclog.Logger
}

// readStep is about the most bytes of memory that the events of one read take.
const readStep = 4 << 20

// Unsettled counts the stream's events in [from, to) that are in the log and that progress does not settle. lost are the
// unreadable runs that progress does not settle. The error is segment.ErrClosed when the log closes.
func (c *Counter) Unsettled(stream string, progress *[segment.Lanes]segment.Progress, from, to uint64) (n segment.Count, lost []segment.Run, err error) {
	open := openLanes(progress, to)
	for from < to {
		select {
		case <-c.Closing:
			return n, nil, segment.ErrClosed
		default:
		}
		chunk, err := c.Reader.Read(stream, from, open, readStep)
		if corrupt := segment.AsCorrupt(err); corrupt != nil {
			bad := segment.Run{First: chunk.Next, Next: min(c.GiveUp(corrupt, stream, chunk.Next), to)}
			if bad.First < bad.Next && !Settles(progress, bad) {
				lost = append(lost, bad)
			}
			from = max(bad.First, bad.Next)
			continue
		}
		if err != nil {
			return n, nil, err
		}
		for i := range chunk.Events {
			e := &chunk.Events[i]
			if e.Offset < to && !progress[e.Lane].Done(e.Offset) {
				n.Add(segment.Count{Events: 1, Bytes: uint64(len(e.Data))})
			}
		}
		if from = chunk.Next; chunk.End {
			return n, lost, nil
		}
	}
	return n, lost, nil
}

// openLanes returns the lanes that may have unsettled events below to.
func openLanes(progress *[segment.Lanes]segment.Progress, to uint64) (lanes segment.LaneSet) {
	for lane := range uint8(segment.Lanes) {
		if progress[lane].Checkpoint < to {
			lanes = lanes.With(lane)
		}
	}
	return lanes
}

// Settles reports whether every lane has settled all offsets of the run.
func Settles(progress *[segment.Lanes]segment.Progress, run segment.Run) bool {
	for i := range progress {
		m := segment.Progress{Settled: []segment.Run{run}}.With(progress[i])
		if !m.Equal(progress[i]) {
			return false
		}
	}
	return true
}

// GiveUp notes that the log cannot read the stream from an offset on, and returns the offset of the next block that it
// may read. It returns from if the segment with that offset is gone.
func (c *Counter) GiveUp(corrupt *segment.CorruptError, stream string, from uint64) (next uint64) {
	seg, sp := c.Segments.Find(stream, from)
	if seg == nil || sp.First > from {
		return from
	}
	if next, known := c.Segments.GivenUp(seg, stream, from); known {
		return next
	}
	bad, known := c.Segments.GiveUp(seg, stream, from, sp)
	if !known {
		c.Logger.Error("a part of the log can't be read and is given up", "segment", seg.Path,
			"stream", stream, "first", bad.First, "next", bad.Next, "error", corrupt)
	}
	return bad.Next
}

// Gaps counts the stream's events that compacted segments lack. No segment may be unlinked or compacted meanwhile.
func (c *Counter) Gaps(stream string) (gaps segment.Count, err error) {
	for _, part := range c.Segments.Parts(stream) {
		if !part.Gapped {
			continue
		}
		there, err := c.held(part.Segment, stream, part.Span)
		if err != nil {
			return segment.Count{}, err
		}
		gaps.Add(part.Count().Sub(there))
	}
	return gaps, nil
}

// held counts the stream's events in a compacted segment. It reads a segment of an older release, which has no counts.
func (c *Counter) held(seg *liveset.Segment, stream string, sp segment.Span) (there segment.Count, err error) {
	var counts map[string]segment.Count
	err = seg.View(func(r segment.Reader) (err error) {
		if meta := r.Bucket(segment.BucketMeta); meta != nil {
			counts, err = segment.DecodeHeld(segment.ValueOf(meta, segment.KeyGapped))
		}
		return err
	})
	if err == nil && counts != nil {
		return counts[stream], nil
	}
	there, _, err = c.Unsettled(stream, new([segment.Lanes]segment.Progress), sp.First, sp.Next)
	return there, err
}
