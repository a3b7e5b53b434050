package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// EventMemory is what an event in memory counts as beside its payload and key, in bytes.
const EventMemory = 96

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
func (l *Log) Read(streamName string, from uint64, lanes LaneSet, limit int) (Chunk, error) {
	r := reading{stream: streamName, lanes: lanes, left: limit, chunk: Chunk{Next: from}}
	for r.left > 0 && !r.chunk.End {
		end := l.Next(streamName) // before the look: what is appended after it is another Read's
		seg, sp := l.find(streamName, r.chunk.Next)
		if seg == nil {
			r.chunk.Next, r.chunk.End = max(r.chunk.Next, end), true
			break
		}
		r.chunk.Next = max(r.chunk.Next, sp.first)
		err := r.readSegment(seg, sp)
		if errors.Is(err, errGone) || err != nil && l.changed(seg, streamName, sp) {
			continue // truncated or rewritten meanwhile: nobody needs it
		}
		if next, known := l.badRun(seg, streamName, r.chunk.Next); err != nil && known {
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

// find returns the segment that holds offset, or the first after it.
func (l *Log) find(streamName string, offset uint64) (*segment, span) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, seg := range l.segments {
		if sp, ok := seg.spans[streamName]; ok && sp.next > offset {
			return seg, sp
		}
	}
	return nil, span{}
}

// changed tells whether the segment holds another part of the stream than it did.
func (l *Log) changed(seg *segment, streamName string, before span) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return seg.spans[streamName].first != before.first
}

// reading is a Read under way.
type reading struct {
	stream string
	lanes  LaneSet
	left   int // bytes of payload to go
	chunk  Chunk
}

// readSegment reads on in seg, and stops where the span ends: bbolt shows a transaction to readers
// before its last sync, and what is not synced must not be delivered.
func (r *reading) readSegment(seg *segment, sp span) error {
	return seg.view(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(streamBucket(r.stream))
		if bucket == nil {
			return &CorruptError{seg.path, r.stream, r.chunk.Next, "the stream is missing"}
		}
		c := bucket.Cursor()
		for k, v := seekBlock(c, r.stream, r.chunk.Next); k != nil && r.chunk.Next < sp.next; k, v = c.Next() {
			if err := r.readBlock(seg, k, v); err != nil || r.left <= 0 {
				return err
			}
		}
		if r.chunk.Next < sp.next {
			return &CorruptError{seg.path, r.stream, r.chunk.Next, "the last blocks are missing"}
		}
		return nil
	})
}

// seekBlock returns the block that holds offset, or the first after it.
func seekBlock(c *bolt.Cursor, stream string, offset uint64) (k, v []byte) {
	k, v = c.Seek(offsetKey(offset))
	if len(k) == 8 && binary.BigEndian.Uint64(k) == offset {
		return k, v
	}
	if k == nil {
		k, v = c.Last()
	} else {
		k, v = c.Prev()
	}
	if k == nil {
		return c.First()
	}
	if b, fault := peekBlock(stream, k, v); fault != "" || b.next() <= offset {
		return c.Next()
	}
	return k, v
}

// readBlock reads the block that continues the chunk, or that its Next lies in.
func (r *reading) readBlock(seg *segment, k, v []byte) error {
	b, fault := peekBlock(r.stream, k, v)
	switch {
	case fault != "":
	case b.first > r.chunk.Next || b.next() <= r.chunk.Next:
		fault = fmt.Sprintf("block %d of %d events stands in its place", b.first, b.count)
		b.first = r.chunk.Next
	case b.lanes&r.lanes != 0:
		if b, fault = parseBlock(r.stream, k, v); fault == "" {
			fault = r.copyBlock(&b)
		}
	}
	if fault != "" {
		return &CorruptError{seg.path, r.stream, b.first, fault}
	}
	r.chunk.Next = b.next()
	return nil
}

// copyBlock copies the wanted events out of the page. Where all are wanted the block is copied
// whole, otherwise each on its own, so that one waiting event keeps no block in memory.
func (r *reading) copyBlock(b *block) (fault string) {
	from := r.chunk.Next
	whole := b.lanes&^r.lanes == 0
	if whole {
		b.frames = bytes.Clone(b.frames)
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
		r.left -= len(raw) + EventMemory
		return nil
	})
	if err != nil {
		r.chunk.Events = r.chunk.Events[:read]
		return err.Error()
	}
	return ""
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
func (l *Log) blockAt(streamName string, offset uint64) (b block, ok bool) {
	seg, _ := l.find(streamName, offset)
	if seg == nil {
		return block{}, false
	}
	_ = seg.view(func(tx *bolt.Tx) error {
		if bucket := tx.Bucket(streamBucket(streamName)); bucket != nil {
			var fault string
			b, fault = seekPeek(bucket.Cursor(), streamName, offset)
			ok = fault == ""
		}
		return nil
	})
	b.frames = nil // they are the transaction's
	return b, ok
}

func seekPeek(c *bolt.Cursor, stream string, offset uint64) (block, string) {
	k, v := seekBlock(c, stream, offset)
	return peekBlock(stream, k, v)
}
