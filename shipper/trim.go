package shipper

import (
	"slices"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/pace"
	"github.com/standpipe/standpipe/wal"
)

// trim leaves in their lanes the last events of records that have just begun another billed step, where
// that saves more than it wastes: what is left must fill less than a step, and goes with the lane's next
// batch. A batch that is due, because an event of it has waited long enough, leaves only events that
// have waited at most young, so that the next is not due much sooner; and it may leave whole records
// of those. Any other is followed by the next at once.
func (b *batch) trim(now time.Time, due bool, young time.Duration) {
	if b.shape.Framing == FramingKPL || b.shape.Compression != Plain || b.shape.BilledStep <= 1 || b.shape.WholeOrder ||
		b.shape.oneKeyed() {
		return
	}
	free := func(l *lane, e *wal.Event) bool {
		return l.trouble == nil && len(l.mark.Settled) == 0 && (!due || now.Sub(l.came(e)) <= young)
	}
	for record := len(b.drafts) - 1; record >= 0; record-- {
		for i, n := range b.excess(record, due, free) {
			b.shorten(&b.shares[i], n)
		}
	}
	b.dropEmpty()
}

// excess returns how many events each share gives up so that the record fills its last billed step; nil
// for none.
func (b *batch) excess(record int, whole bool, free func(*lane, *wal.Event) bool) []int {
	step, size := b.shape.BilledStep, b.counted(b.drafts[record])
	over := size % step
	if over == 0 || size < step && !whole {
		return nil
	}
	pops := make([]int, len(b.shares))
	for left := 0; left < over; {
		youngest := -1
		for i := range b.shares {
			e := b.shares[i].last(pops[i], record)
			if e != nil && free(b.shares[i].lane, e) && (youngest < 0 || e.Offset > b.shares[youngest].last(pops[youngest], record).Offset) {
				youngest = i
			}
		}
		if youngest < 0 {
			return nil
		}
		e := b.shares[youngest].last(pops[youngest], record)
		if left += b.lineSize(e); left >= step {
			return nil
		}
		pops[youngest]++
	}
	return pops
}

// last returns the share's last event but for the popped ones, when it is in the record; else nil.
func (s *share) last(popped, record int) *wal.Event {
	n := len(s.events) - 1 - popped
	if n < 0 || s.groups[n].record != record {
		return nil
	}
	return &s.events[n]
}

// counted returns the bytes of d that the service counts.
func (b *batch) counted(d *draft) int { return d.size + b.keyCost(d.groups[0].key) }

// shorten takes the last n events out of a share and its records.
func (b *batch) shorten(s *share, n int) {
	for ; n > 0; n-- {
		last := len(s.events) - 1
		g, size := s.groups[last], b.lineSize(&s.events[last])
		d := b.drafts[g.record]
		g.events = g.events[:len(g.events)-1]
		g.size -= size
		d.size -= size
		d.events--
		b.size -= size
		b.events--
		b.unplan(d.pace, size, 0)
		b.unplan(b.laneOf(&s.events[last]), size, 0)
		s.events, s.groups = s.events[:last], s.groups[:last]
	}
}

// dropEmpty removes what trim has left empty.
func (b *batch) dropEmpty() {
	b.shares = slices.DeleteFunc(b.shares, func(s share) bool { return len(s.events) == 0 })
	kept := b.drafts[:0]
	for _, d := range b.drafts {
		key := d.groups[0].key
		d.groups = slices.DeleteFunc(d.groups, func(g *group) bool { return len(g.events) == 0 })
		if len(d.groups) == 0 {
			b.size -= b.keyCost(key)
			b.unplan(d.pace, b.keyCost(key), 1)
			continue
		}
		for _, g := range d.groups {
			g.record = len(kept)
		}
		kept = append(kept, d)
	}
	b.drafts = kept
}

// laneOf returns the pace of an event's lane; nil: none.
func (b *batch) laneOf(e *wal.Event) *pace.Pace {
	if b.pacer == nil {
		return nil
	}
	return b.pacer.Lane(e.Lane)
}

// unplan gives back to a record's pace, which may be nil, what is not sent.
func (b *batch) unplan(p *pace.Pace, bytes, records int) {
	if p != nil {
		b.pacer.Plan(p, -bytes, -records)
	}
}
