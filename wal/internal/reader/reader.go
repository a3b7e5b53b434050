package reader

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
	"github.com/standpipe/standpipe/wal/timeline"
)

// Chunk is the result of one Read.
type Chunk struct {
	Events []segment.Event // ascending by offset, of the wanted lanes only
	// Next is the offset for the next Read. Every event of the wanted lanes below it was returned by an earlier Read,
	// is in Events, or is not in the log.
	Next uint64
	// End reports whether Next was the end of the stream.
	End bool
}

// Reader copies the events of streams. It has no state.
type Reader struct {
	Segments *liveset.Set
	Retained bool                       // read the retained segments too
	End      func(stream string) uint64 // the offset that the stream's next event gets
	Times    *timeline.Table            // nil: times are not corrected
	Patience time.Duration              // after reads have failed for this long, the block counts as damaged
}

// Read copies a stream's events of the wanted lanes, from offset from on: see Log.Read.
func (rd *Reader) Read(streamName string, from uint64, lanes segment.LaneSet, limit int) (Chunk, error) {
	r := reading{stream: streamName, times: rd.Times, lanes: lanes, left: limit, chunk: Chunk{Next: from}}
	for r.left > 0 && !r.chunk.End {
		// Find the segment that holds the next offset. The stream's end is queried first: later appends are left to
		// another Read.
		end := rd.End(streamName)
		seg, sp := rd.find(streamName, r.chunk.Next)
		if seg == nil {
			r.chunk.Next, r.chunk.End = max(r.chunk.Next, end), true
			break
		}
		r.chunk.Next = max(r.chunk.Next, sp.First)
		replaced := seg.Replaced()

		// Read its blocks up to the end of the span and no further: bbolt shows a transaction to readers before its
		// last sync, and unsynced events must not be delivered.
		r.end = sp.Next
		err := seg.Walk(streamName, r.chunk.Next, sp.Next, func(at segment.BlockPlace, b segment.Block, fault string) (bool, error) {
			err := r.readBlock(seg, at, &b, fault)
			return r.left <= 0, err
		})
		if err == nil && r.left > 0 && r.chunk.Next < sp.Next {
			err = &segment.CorruptError{File: seg.Path, Stream: streamName, Offset: r.chunk.Next, Reason: "the last blocks are missing"}
		}

		// If the segment was truncated or compacted meanwhile, it held no needed event there: search again.
		if errors.Is(err, segfile.ErrGone) || err != nil && (seg.Replaced() != replaced || rd.Segments.Changed(seg, streamName, sp)) {
			continue
		}

		// An I/O error counts as damage once it lasts, and at once where the log has given up already.
		err = seg.Overdue(rd.Patience, streamName, r.chunk.Next, err)
		if segment.Unread(err) {
			if _, known := rd.Segments.GivenUp(seg, streamName, r.chunk.Next); known {
				err = &segment.CorruptError{File: seg.Path, Stream: streamName, Offset: r.chunk.Next, Reason: err.Error()}
			}
		}
		if err != nil {
			if len(r.chunk.Events) > 0 {
				return r.chunk, nil
			}
			return r.chunk, err
		}
	}
	return r.chunk, nil
}

// find returns the segment that holds the stream's event at offset, or the first one with a later event; nil: there is none.
func (rd *Reader) find(stream string, offset uint64) (*liveset.Segment, segment.Span) {
	if rd.Retained {
		return rd.Segments.FindAny(stream, offset)
	}
	return rd.Segments.Find(stream, offset)
}

// reading is a Read under way.
type reading struct {
	stream string
	times  *timeline.Table
	lanes  segment.LaneSet
	left   int    // bytes of memory that the chunk may still take
	end    uint64 // where the stream ends in the segment
	chunk  Chunk
}

// readBlock reads the block that holds the chunk's Next, or follows it.
func (r *reading) readBlock(seg *liveset.Segment, at segment.BlockPlace, b *segment.Block, fault string) error {
	if x := seg.Index(); at.First > r.chunk.Next && x != nil && x.Patched {
		return &segment.CorruptError{File: seg.Path, Stream: r.stream, Offset: r.chunk.Next, Reason: fmt.Sprintf("the blocks before %d are missing", at.First)}
	}
	if fault == "" && b.Lanes&r.lanes != 0 {
		if fault = b.FramesFault(); fault == "" {
			fault = r.copyBlock(b)
		}
	}
	if fault != "" {
		return &segment.CorruptError{File: seg.Path, Stream: r.stream, Offset: at.First, Reason: fault}
	}
	r.chunk.Next = at.Next
	return nil
}

// copyBlock copies the wanted events out of the page. If all are wanted, the block is copied whole. Otherwise each
// event is copied by itself, so that one event does not keep a block in memory.
func (r *reading) copyBlock(b *segment.Block) (fault string) {
	from := r.chunk.Next
	whole := b.Lanes&^r.lanes == 0
	if whole {
		b.Frames = bytes.Clone(b.Frames)
		r.expect(b)
	}
	read := len(r.chunk.Events)
	err := b.Each(func(lane uint8, offset uint64, raw []byte) error {
		if offset < from || !r.lanes.Has(lane) {
			return nil
		}
		if !whole {
			raw = bytes.Clone(raw)
		}
		e := segment.Event{Offset: offset, Lane: lane}
		if err := segment.DecodeEvent(raw, &e); err != nil {
			return err
		}
		if e.Timeline != 0 && r.times != nil {
			r.times.Correct(&e)
		}
		r.chunk.Events = append(r.chunk.Events, e)
		r.left -= max(e.Memory(), len(raw)+segment.EventMemory)
		return nil
	})
	if err != nil {
		r.chunk.Events = r.chunk.Events[:read]
		return err.Error()
	}
	return ""
}

// expect allocates memory for all events of the chunk, as if they were as large as those of the first block. The count of
// a compacted block includes the events that it lacks.
func (r *reading) expect(b *segment.Block) {
	if r.chunk.Events != nil {
		return
	}
	each := len(b.Frames)/int(b.Count) + segment.EventMemory
	events := uint64(r.left/each + min(int(b.Count), len(b.Frames)/segment.LeastFrame))
	r.chunk.Events = make([]segment.Event, 0, min(events, r.end-r.chunk.Next))
}
