package compact

import (
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Needs describes the events of a stream that some destination would need after a crash: the checkpoints on the disk do
// not settle them. It is a copy, taken at one moment.
type Needs struct {
	Low   uint64                            // no event below it is needed
	Lanes [][segment.Lanes]segment.Progress // of each destination, by the checkpoints on the disk
}

// event reports whether the event is needed. In a stream without a destination every event is.
func (n *Needs) event(lane uint8, offset uint64) bool {
	for i := range n.Lanes {
		if !n.Lanes[i][lane].Done(offset) {
			return true
		}
	}
	return len(n.Lanes) == 0 && offset >= n.Low
}

// Share estimates the needed part of a span, from 0 to 1, as if the events were spread evenly over the lanes.
func (n *Needs) Share(sp segment.Span) float64 {
	if len(n.Lanes) == 0 {
		return float64(sp.Next-sp.Clamp(n.Low)) / float64(sp.Next-sp.First)
	}
	needed := 0.0
	for lane := range segment.Lanes {
		low, parked := sp.Next, uint64(0)
		for i := range n.Lanes {
			from, to := sp.Clamp(n.Lanes[i][lane].Checkpoint), sp.Clamp(end(&n.Lanes[i][lane]))
			if to == sp.Next {
				low = min(low, from)
			} else {
				parked = max(parked, to-from)
			}
		}
		needed += float64(min(sp.Next-low+parked, sp.Next-sp.First)) / float64(sp.Next-sp.First)
	}
	return needed / segment.Lanes
}

// end returns the offset from which on a destination needs no event of the lane: that of a parked one has a settled run
// without an end.
func end(m *segment.Progress) uint64 {
	if n := len(m.Settled); n > 0 && m.Settled[n-1].Next == math.MaxUint64 {
		return max(m.Checkpoint, m.Settled[n-1].First)
	}
	return math.MaxUint64
}

// filter lays the needed events of a segment into new blocks. From the first needed event of a stream on, the new
// blocks cover the same offsets as the old: gaps stand for the missing events.
type filter struct {
	seq    uint64
	needs  map[string]*Needs
	open   map[string]*liveBlock
	index  *segment.BlockIndex
	number uint64                   // of the last block
	size   int64                    // of all blocks
	held   map[string]segment.Count // the events that stay, by stream
}

// liveBlock is the block that is being filled with a stream's needed events.
type liveBlock struct {
	segment.Block
	gap uint64 // events that are missing at its end
}

func newFilter(seq uint64, n map[string]*Needs) *filter {
	return &filter{seq: seq, needs: n, open: make(map[string]*liveBlock), index: segment.NewIndex(), held: make(map[string]segment.Count)}
}

// putBlock stores a block under its number.
type putBlock func(number uint64, value []byte)

// add filters the next block of the segment. It keeps no reference to the block's bytes.
func (f *filter) add(b *segment.Block, put putBlock) error {
	n := f.needs[b.Stream]
	if n == nil || b.Next() <= n.Low {
		return nil
	}
	o := f.open[b.Stream]
	if o == nil {
		o = &liveBlock{}
		o.Stream = strings.Clone(b.Stream)
		f.open[o.Stream] = o
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
		return f.count(o.Stream, event)
	})
	o.gap += b.Next() - next
	if err == nil && len(o.Frames) >= segment.BlockAim {
		f.closeBlock(o, put)
	}
	return err
}

// count counts an event that stays.
func (f *filter) count(stream string, event []byte) error {
	var e segment.Event
	if err := segment.DecodeEvent(event, &e); err != nil {
		return err
	}
	c := f.held[stream]
	c.Add(segment.Count{Events: 1, Bytes: uint64(len(e.Data))})
	f.held[stream] = c
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

// closeBlock completes the open block and stores it.
func (f *filter) closeBlock(o *liveBlock, put putBlock) {
	if o.Count == 0 {
		return
	}
	o.closeGap()
	f.number++
	o.Number = f.number
	value := segment.AppendBlockHeader(make([]byte, 0, segment.BlockHeader+len(o.Stream)+len(o.Frames)), &o.Block)
	value = append(value, o.Frames...)
	segment.SumFrames(value)
	segment.SealBlock(value, f.seq, f.number)
	f.index.Add(&o.Block)
	f.size += int64(len(value)) + segment.LeafElement
	put(f.number, value)
	*o = liveBlock{Block: segment.Block{Stream: o.Stream, Frames: o.Frames[:0]}}
}

// finish completes and stores the open blocks of all streams.
func (f *filter) finish(put putBlock) {
	for _, name := range segment.SortedKeys(f.open) {
		f.closeBlock(f.open[name], put)
	}
}
