package wal

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// needs describes the events of a stream that some destination would need after a crash: the checkpoints on the disk do
// not settle them. It is a copy, taken at one moment.
type needs struct {
	low     uint64 // no event below it is needed
	cursors []*Cursor
	lanes   [][Lanes]Progress
}

func (s *stream) needs() *needs {
	n := &needs{low: s.low(), cursors: s.sortedCursors()}
	for _, p := range n.cursors {
		p.mu.Lock()
		n.lanes = append(n.lanes, p.synced)
		p.mu.Unlock()
	}
	return n
}

// event reports whether the event is needed. In a stream without a destination every event is.
func (n *needs) event(lane uint8, offset uint64) bool {
	for i := range n.lanes {
		if !n.lanes[i][lane].Done(offset) {
			return true
		}
	}
	return len(n.lanes) == 0 && offset >= n.low
}

// share estimates the needed part of a span, from 0 to 1, as if the events were spread evenly over the lanes.
func (n *needs) share(sp segment.Span) float64 {
	if len(n.lanes) == 0 {
		return float64(sp.Next-sp.Clamp(n.low)) / float64(sp.Next-sp.First)
	}
	needed := 0.0
	for lane := range Lanes {
		low := sp.Next
		for i := range n.lanes {
			low = min(low, sp.Clamp(n.lanes[i][lane].Checkpoint))
		}
		needed += float64(sp.Next-low) / float64(sp.Next-sp.First)
	}
	return needed / Lanes
}

// liveFilter lays the needed events of a segment into new blocks. From the first needed event of a stream on, the new
// blocks cover the same offsets as the old: gaps stand for the missing events.
type liveFilter struct {
	length int64 // of the copy's file
	seq    uint64
	needs  map[string]*needs
	open   map[string]*liveBlock
	index  *segment.BlockIndex
	number uint64           // of the last block
	size   int64            // of all blocks
	held   map[string]Count // the events that stay, by stream
}

// liveBlock is the block that is being filled with a stream's needed events.
type liveBlock struct {
	segment.Block
	gap uint64 // events that are missing at its end
}

func newLiveFilter(seq uint64, n map[string]*needs) *liveFilter {
	return &liveFilter{seq: seq, needs: n, open: make(map[string]*liveBlock), index: segment.NewIndex(), held: make(map[string]Count)}
}

// putBlock stores a block under its number.
type putBlock func(number uint64, value []byte)

// add filters the next block of the segment. It keeps no reference to the block's bytes.
func (s *liveFilter) add(b *segment.Block, put putBlock) error {
	n := s.needs[b.Stream]
	if n == nil || b.Next() <= n.low {
		return nil
	}
	o := s.open[b.Stream]
	if o == nil {
		o = &liveBlock{}
		o.Stream = strings.Clone(b.Stream)
		s.open[o.Stream] = o
	}
	if o.Count == 0 {
		o.First, o.Before = b.First, b.Before
	}
	o.Count += b.Count
	o.Bytes += b.Bytes
	o.Time = b.Time // the last of several: no event seems older than it is
	next := b.First
	err := b.Each(func(lane uint8, offset uint64, event []byte) error {
		o.gap += offset - next // the block lacks these already
		next = offset + 1
		if !n.event(lane, offset) {
			o.gap++
			return nil
		}
		o.join(lane, event)
		return s.count(o.Stream, event)
	})
	o.gap += b.Next() - next
	if err == nil && len(o.Frames) >= segment.BlockAim {
		s.finish(o, put)
	}
	return err
}

// count counts an event that stays.
func (s *liveFilter) count(stream string, event []byte) error {
	var e Event
	if err := segment.DecodeEvent(event, &e); err != nil {
		return err
	}
	c := s.held[stream]
	c.Add(Count{Events: 1, Bytes: uint64(len(e.Data))})
	s.held[stream] = c
	return nil
}

func (o *liveBlock) join(lane uint8, event []byte) {
	o.closeGap()
	o.Lanes = o.Lanes.With(lane)
	o.Frames = append(o.Frames, lane)
	o.Frames = protowire.AppendBytes(o.Frames, event)
}

func (o *liveBlock) closeGap() bool {
	if o.gap == 0 {
		return false
	}
	o.Frames = segment.AppendGap(o.Frames, o.gap)
	o.gap = 0
	return true
}

// finish completes the open block and stores it.
func (s *liveFilter) finish(o *liveBlock, put putBlock) {
	if o.Count == 0 {
		return
	}
	o.closeGap()
	s.number++
	o.Number = s.number
	value := segment.AppendBlockHeader(make([]byte, 0, segment.BlockHeader+len(o.Stream)+len(o.Frames)), &o.Block)
	value = append(value, o.Frames...)
	segment.SumFrames(value)
	segment.SealBlock(value, s.seq, s.number)
	s.index.Add(&o.Block)
	s.size += int64(len(value)) + segment.LeafElement
	put(s.number, value)
	*o = liveBlock{Block: segment.Block{Stream: o.Stream, Frames: o.Frames[:0]}}
}

// end completes and stores the open blocks of all streams.
func (s *liveFilter) end(put putBlock) {
	for _, name := range segment.SortedKeys(s.open) {
		s.finish(s.open[name], put)
	}
}
