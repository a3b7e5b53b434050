package producer

import (
	"cmp"
	"slices"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// A new segment begins without the entries of the producers. Its commits carry them over in steps, so that no append
// waits for all of them. Until the last one is carried over, the log is read with the segment before it, which no one may
// unlink or compact. See segment.StateWriter.PutContinued.

// compare orders the producers about as their entries are ordered in the state, so that each step writes pages that lie
// side by side.
func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(len(k.Stream), len(o.Stream)), cmp.Compare(k.Stream, o.Stream), cmp.Compare(len(k.ID), len(o.ID)), cmp.Compare(k.ID, o.ID))
}

// position returns where the producer is in order, or would be.
func (s *Set) position(key Key) int {
	i, _ := slices.BinarySearchFunc(s.order, key, func(p *producer, key Key) int { return p.key.compare(key) })
	return i
}

// add adds a producer, whose entry is in no segment.
func (s *Set) add(p *producer) {
	s.all[p.key] = p
	s.order = slices.Insert(s.order, s.position(p.key), p)
}

// remove removes a producer. The caller calls reorder then.
func (s *Set) remove(p *producer) {
	s.addBytes(p, -p.bytes)
	delete(s.all, p.key)
}

// reorder removes the producers from order that are not in the set any more.
func (s *Set) reorder() {
	if len(s.order) > len(s.all) {
		s.order = slices.DeleteFunc(s.order, func(p *producer) bool { return s.all[p.key] != p })
	}
}

// Left returns the bytes of the entries that the newest segment lacks.
func (s *Set) Left() int64 { return s.bytes - s.carried }

// Opened is called when Load and Replay have loaded the producers, with the number of the segment that takes appends. all:
// it has all entries.
func (s *Set) Opened(seq uint64, all bool) {
	s.Begin(seq)
	for _, p := range s.order {
		if all {
			p.home = seq
		}
		if p.home == seq {
			s.carried += p.bytes
		}
	}
}

// Begin is called before the commit that begins a segment: no entry is in it.
func (s *Set) Begin(seq uint64) {
	s.segment, s.carried, s.next = seq, 0, Key{}
}

// Carry writes entries that the newest segment lacks. They take about the given bytes of the state. through is the number
// of the segment's last block with notes, after the commit. done: the segment lacks no entry then. Stored or Undo ends the
// step.
func (s *Set) Carry(state *segment.StateWriter, bytes int64, through uint64) (done bool, err error) {
	s.step = s.step[:0]
	for _, p := range s.order[s.position(s.next):] {
		if p.home == s.segment {
			continue
		}
		if bytes <= 0 {
			return false, nil
		}
		if err := put(p.key, p, state, through); err != nil {
			return false, err
		}
		s.step = append(s.step, p)
		bytes -= p.bytes
	}
	return true, nil
}

// settle records that the entry of the producer is in the newest segment.
func (s *Set) settle(p *producer) {
	if p.home == s.segment {
		return
	}
	p.home = s.segment
	s.carried += p.bytes
}

// endCarry ends a step of Carry. The entries are in the segment if the commit has succeeded.
func (s *Set) endCarry(stored bool) {
	for _, p := range s.step {
		if stored {
			s.settle(p)
			s.next = p.key
		}
	}
	clear(s.step)
	s.step = s.step[:0]
}
