package wal

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// needs describes the events of a stream that some destination would need after a crash: the checkpoints on the disk do not
// settle them. It is a copy, taken at one moment.
type needs struct {
	low    uint64 // no event below it is needed
	places []*Cursor
	marks  [][Lanes]Progress
}

func (s *stream) needs() *needs {
	n := &needs{low: s.low(), places: s.sortedCursors()}
	for _, p := range n.places {
		p.mu.Lock()
		n.marks = append(n.marks, p.synced)
		p.mu.Unlock()
	}
	return n
}

// event reports whether the event is needed. In a stream without a destination every event is.
func (n *needs) event(lane uint8, offset uint64) bool {
	for i := range n.marks {
		if !n.marks[i][lane].Done(offset) {
			return true
		}
	}
	return len(n.marks) == 0 && offset >= n.low
}

// share estimates the needed part of a span, from 0 to 1, as if the events were spread evenly over the lanes.
func (n *needs) share(sp span) float64 {
	if len(n.marks) == 0 {
		return float64(sp.next-sp.clamp(n.low)) / float64(sp.next-sp.first)
	}
	needed := 0.0
	for lane := range Lanes {
		low := sp.next
		for i := range n.marks {
			low = min(low, sp.clamp(n.marks[i][lane].Checkpoint))
		}
		needed += float64(sp.next-low) / float64(sp.next-sp.first)
	}
	return needed / Lanes
}

// liveFilter packs the needed events of a segment into new blocks. From the first needed event of a stream on, the new
// blocks cover the same offsets as the old: gaps stand for the missing events.
type liveFilter struct {
	length int64 // of the copy's file
	seq    uint64
	needs  map[string]*needs
	open   map[string]*liveBlock
	index  *blockIndex
	number uint64           // of the last block
	size   int64            // of all blocks
	held   map[string]Count // the events that stay, by stream
}

// liveBlock is the block that is being filled with a stream's needed events.
type liveBlock struct {
	block
	gap uint64 // events that are missing at its end
}

func newLiveFilter(seq uint64, n map[string]*needs) *liveFilter {
	return &liveFilter{seq: seq, needs: n, open: make(map[string]*liveBlock), index: newIndex(), held: make(map[string]Count)}
}

// putBlock stores a block under its number.
type putBlock func(number uint64, value []byte)

// add filters the next block of the segment. It keeps no reference to the block's bytes.
func (s *liveFilter) add(b *block, put putBlock) error {
	n := s.needs[b.stream]
	if n == nil || b.next() <= n.low {
		return nil
	}
	o := s.open[b.stream]
	if o == nil {
		o = &liveBlock{}
		o.stream = strings.Clone(b.stream)
		s.open[o.stream] = o
	}
	if o.count == 0 {
		o.first, o.before = b.first, b.before
	}
	o.count += b.count
	o.bytes += b.bytes
	o.time = b.time // the last of several: no event seems older than it is
	next := b.first
	err := b.each(func(lane uint8, offset uint64, event []byte) error {
		o.gap += offset - next // the block lacks these already
		next = offset + 1
		if !n.event(lane, offset) {
			o.gap++
			return nil
		}
		o.join(lane, event)
		return s.count(o.stream, event)
	})
	o.gap += b.next() - next
	if err == nil && len(o.frames) >= blockAim {
		s.finish(o, put)
	}
	return err
}

// count counts an event that stays.
func (s *liveFilter) count(stream string, event []byte) error {
	var e Event
	if err := decodeEvent(event, &e); err != nil {
		return err
	}
	c := s.held[stream]
	c.Add(Count{1, uint64(len(e.Data))})
	s.held[stream] = c
	return nil
}

func (o *liveBlock) join(lane uint8, event []byte) {
	o.closeGap()
	o.lanes = o.lanes.With(lane)
	o.frames = append(o.frames, lane)
	o.frames = protowire.AppendBytes(o.frames, event)
}

func (o *liveBlock) closeGap() bool {
	if o.gap == 0 {
		return false
	}
	o.frames = appendGap(o.frames, o.gap)
	o.gap = 0
	return true
}

// finish puts the open block.
func (s *liveFilter) finish(o *liveBlock, put putBlock) {
	if o.count == 0 {
		return
	}
	o.closeGap()
	s.number++
	o.number = s.number
	value := appendBlockHeader(make([]byte, 0, blockHeader+len(o.stream)+len(o.frames)), &o.block)
	value = append(value, o.frames...)
	sumFrames(value)
	sealBlock(value, s.seq, s.number)
	s.index.add(&o.block)
	s.size += int64(len(value)) + leafElement
	put(s.number, value)
	*o = liveBlock{block: block{stream: o.stream, frames: o.frames[:0]}}
}

// end puts the open blocks of all streams.
func (s *liveFilter) end(put putBlock) {
	for _, name := range sortedKeys(s.open) {
		s.finish(s.open[name], put)
	}
}
