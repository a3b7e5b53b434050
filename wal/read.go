package wal

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// EventMemory is the number of bytes that an event in memory counts as in addition to its content.
const EventMemory = 96

// The memory that decoded attributes occupy beside their bytes: a map of up to 8, and at most so much for each.
const (
	attributesMemory = 336
	attributeMemory  = 76
)

// Memory returns about how many bytes of memory an event occupies that Read has returned, with all that it carries.
func (e *Event) Memory() int {
	n := EventMemory + len(e.Key) + len(e.Data)
	if len(e.Attributes) == 0 {
		return n
	}
	n += attributesMemory
	for name, value := range e.Attributes {
		n += attributeMemory + len(name) + len(value)
	}
	return n
}

// Chunk is what one Read found.
type Chunk struct {
	Events []Event // ascending by offset, of the wanted lanes only
	// Next is where to go on: every event of the wanted lanes below it has been read, is in Events,
	// or is not in the log.
	Next uint64
	// End: Next was the end of the stream.
	End bool
}

// Read copies a stream's events of the wanted lanes from offset from on, until they take
// about limit bytes of memory. It holds no transaction when it returns, and Events belong to the caller.
//
// A block that fails its checksum ends the chunk; when it is the first, the error is a
// *CorruptError. Blocks without an event of the wanted lanes are passed over unread.
//
// A block that the disk can't read is an I/O error, and the caller tries again after a pause. When it has been one
// for a minute it is a *CorruptError too.
func (l *Log) Read(streamName string, from uint64, lanes LaneSet, limit int) (Chunk, error) {
	r := reading{stream: streamName, lanes: lanes, left: limit, chunk: Chunk{Next: from}}
	for r.left > 0 && !r.chunk.End {
		end := l.Next(streamName) // before the look: what is appended after it is another Read's
		seg, sp := l.segments.find(streamName, r.chunk.Next)
		if seg == nil {
			r.chunk.Next, r.chunk.End = max(r.chunk.Next, end), true
			break
		}
		r.chunk.Next = max(r.chunk.Next, sp.first)
		swaps := seg.swaps.Load()
		err := r.readSegment(l, seg, sp)
		if errors.Is(err, errGone) || err != nil && (seg.swaps.Load() != swaps || l.segments.changed(seg, streamName, sp)) {
			continue // truncated or rewritten meanwhile: nobody needs it
		}
		err = l.damage.overdue(seg, streamName, r.chunk.Next, err)
		if next, known := l.damage.badRun(seg, streamName, r.chunk.Next); err != nil && known {
			r.chunk.Next = next
			continue
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

// reading is a Read under way.
type reading struct {
	stream string
	lanes  LaneSet
	left   int    // bytes of payload to go
	end    uint64 // of what the segment has of the stream
	chunk  Chunk
}

// readSegment reads on in seg, and stops where the span ends: bbolt shows a transaction to readers
// before its last sync, and what is not synced must not be delivered.
func (r *reading) readSegment(l *Log, seg *segmentFile, sp span) error {
	r.end = sp.next
	w := walk{seg: seg, stream: r.stream, from: r.chunk.Next, next: sp.next}
	w.visit = func(at blockPlace, b block, fault string) (bool, error) {
		return r.left <= 0, r.readBlock(seg, at, &b, fault)
	}
	if err := w.run(); err != nil || r.left <= 0 {
		return err
	}
	if r.chunk.Next < sp.next {
		return &CorruptError{seg.path, r.stream, r.chunk.Next, "the last blocks are missing"}
	}
	return nil
}

// readBlock reads the block that continues the chunk, or that its Next lies in.
func (r *reading) readBlock(seg *segmentFile, at blockPlace, b *block, fault string) error {
	if x := seg.index.Load(); at.First > r.chunk.Next && x != nil && x.patched {
		return &CorruptError{seg.path, r.stream, r.chunk.Next, fmt.Sprintf("the blocks before %d are missing", at.First)}
	}
	if fault == "" && b.lanes&r.lanes != 0 {
		if fault = b.framesFault(); fault == "" {
			fault = r.copyBlock(b)
		}
	}
	if fault != "" {
		return &CorruptError{seg.path, r.stream, at.First, fault}
	}
	r.chunk.Next = at.Next
	return nil
}

// copyBlock copies the wanted events out of the page. Where all are wanted the block is copied
// whole, otherwise each on its own, so that one waiting event keeps no block in memory.
func (r *reading) copyBlock(b *block) (fault string) {
	from := r.chunk.Next
	whole := b.lanes&^r.lanes == 0
	if whole {
		b.frames = bytes.Clone(b.frames)
		r.expect(b)
	}
	read := len(r.chunk.Events)
	err := b.each(func(lane uint8, offset uint64, raw []byte) error {
		if offset < from || !r.lanes.Has(lane) {
			return nil
		}
		if !whole {
			raw = bytes.Clone(raw)
		}
		e := Event{Offset: offset, Lane: lane}
		if err := decodeEvent(raw, &e); err != nil {
			return err
		}
		r.chunk.Events = append(r.chunk.Events, e)
		r.left -= max(e.Memory(), len(raw)+EventMemory)
		return nil
	})
	if err != nil {
		r.chunk.Events = r.chunk.Events[:read]
		return err.Error()
	}
	return ""
}

// expect makes room for the events that will be read if all are as large as those of the first block, which
// counts also what was left out when it was rewritten.
func (r *reading) expect(b *block) {
	if r.chunk.Events != nil {
		return
	}
	each := len(b.frames)/int(b.count) + EventMemory
	events := uint64(r.left/each + min(int(b.count), len(b.frames)/leastFrame))
	r.chunk.Events = make([]Event, 0, min(events, r.end-r.chunk.Next))
}

// appendedAt returns when the block that holds the offset, or the first after it, was appended.
func (l *Log) appendedAt(streamName string, offset uint64) time.Time {
	b, ok := l.blockAt(streamName, offset)
	if !ok {
		return time.Time{}
	}
	return b.at()
}

// blockAt returns the header of the block that holds the offset, or of the first after it. A block that
// can't be read is none; Read says so.
func (l *Log) blockAt(streamName string, offset uint64) (found block, ok bool) {
	seg, sp := l.segments.find(streamName, offset)
	if seg == nil {
		return block{}, false
	}
	w := walk{seg: seg, stream: streamName, from: offset, next: sp.next}
	w.visit = func(_ blockPlace, b block, fault string) (bool, error) {
		b.stream, b.frames = streamName, nil // they are the transaction's
		found, ok = b, fault == ""
		return true, nil
	}
	_ = w.run()
	return found, ok
}
