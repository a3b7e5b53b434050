package wal

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// needs is what the destinations of a stream need after a crash, at one moment: what they have not settled
// by what is on the disk.
type needs struct {
	low    uint64 // nothing below
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

// event tells whether the event is needed. Of a stream without a destination all are.
func (n *needs) event(lane uint8, offset uint64) bool {
	for i := range n.marks {
		if !n.marks[i][lane].Done(offset) {
			return true
		}
	}
	return len(n.marks) == 0 && offset >= n.low
}

// share returns how large a part of a span seems to be needed, if every lane has as much of it.
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

// sieve lays the blocks of a segment into new ones that have only the events that are needed. Of each
// stream they cover, from the first that is needed on, the same offsets: what is missing in between
// is told by gaps.
type sieve struct {
	length int64 // of the copy's file
	seq    uint64
	needs  map[string]*needs
	open   map[string]*sifted
	index  *blockIndex
	number uint64           // of the last block
	size   int64            // of all blocks
	held   map[string]Count // of each stream, what stays
}

// sifted is the block that is being made of a stream's blocks.
type sifted struct {
	block
	gap uint64 // events that are missing at its end
}

func newSieve(seq uint64, n map[string]*needs) *sieve {
	return &sieve{seq: seq, needs: n, open: make(map[string]*sifted), index: newIndex(), held: make(map[string]Count)}
}

// putBlock stores a block under its number.
type putBlock func(number uint64, value []byte)

// add takes in the next block of the segment. Its bytes are not kept.
func (s *sieve) add(b *block, put putBlock) error {
	n := s.needs[b.stream]
	if n == nil || b.next() <= n.low {
		return nil
	}
	o := s.open[b.stream]
	if o == nil {
		o = &sifted{}
		o.stream = strings.Clone(b.stream)
		s.open[o.stream] = o
	}
	if o.count == 0 {
		o.first, o.before = b.first, b.before
	}
	o.count += b.count
	o.bytes += b.bytes
	o.time = b.time // of several the last: nothing seems older than it is
	next := b.first
	err := b.each(func(lane uint8, offset uint64, event []byte) error {
		o.gap += offset - next // that it lacks already
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

// count notes an event that stays.
func (s *sieve) count(stream string, event []byte) error {
	var e Event
	if err := decodeEvent(event, &e); err != nil {
		return err
	}
	c := s.held[stream]
	c.Add(Count{1, uint64(len(e.Data))})
	s.held[stream] = c
	return nil
}

// gappedCounts tells that the counts follow that a rewritten segment holds of each stream; the index has those of
// before.
const gappedCounts = 2

func appendHeld(held map[string]Count) []byte {
	b := []byte{gappedCounts}
	for _, stream := range sortedKeys(held) {
		b = appendCount(appendText(b, stream), held[stream])
	}
	return b
}

// decodeHeld reads what appendHeld wrote; nil: the segment was not rewritten, or does not tell.
func decodeHeld(b []byte) (held map[string]Count, err error) {
	if len(b) == 0 || b[0] != gappedCounts {
		return nil, nil
	}
	held = make(map[string]Count)
	d := decoder{b: b[1:]}
	for len(d.b) > 0 && !d.bad {
		stream := string(d.text())
		held[stream] = d.count()
	}
	return held, d.err()
}

func (o *sifted) join(lane uint8, event []byte) {
	o.closeGap()
	o.lanes = o.lanes.With(lane)
	o.frames = append(o.frames, lane)
	o.frames = protowire.AppendBytes(o.frames, event)
}

func (o *sifted) closeGap() bool {
	if o.gap == 0 {
		return false
	}
	o.frames = appendGap(o.frames, o.gap)
	o.gap = 0
	return true
}

// finish puts the block that is being made.
func (s *sieve) finish(o *sifted, put putBlock) {
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
	*o = sifted{block: block{stream: o.stream, frames: o.frames[:0]}}
}

// end puts what is left.
func (s *sieve) end(put putBlock) {
	for _, name := range sortedKeys(s.open) {
		s.finish(s.open[name], put)
	}
}
