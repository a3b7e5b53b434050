package pack

import (
	"slices"

	"github.com/standpipe/standpipe/shipper/internal/pace"
	"github.com/standpipe/standpipe/wal"
)

// Align removes the last events of records that barely begin another billed step, and leaves them in their lanes. Those
// events must fill less than a step, and go with their lane's next batch. free reports whether an event may stay
// behind. With whole, Align may also leave all events of a record that fills less than one step.
func (b *Batch) Align(whole bool, free func(lane int, e *wal.Event) bool) {
	if b.shape.Framing == FramingKPL || b.shape.Compression != Plain || b.shape.BilledStep <= 1 || b.shape.WholeOrder ||
		b.shape.OneKeyed() {
		return
	}
	for record := len(b.drafts) - 1; record >= 0; record-- {
		for i, n := range b.excess(record, whole, free) {
			b.shorten(&b.shares[i], n)
		}
	}
	b.dropEmpty()
}

// excess returns the number of events that each share gives up so that the record fills its last billed step; nil: none.
func (b *Batch) excess(record int, whole bool, free func(int, *wal.Event) bool) []int {
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
			if e != nil && free(b.shares[i].Lane, e) && (youngest < 0 || e.Offset > b.shares[youngest].last(pops[youngest], record).Offset) {
				youngest = i
			}
		}
		if youngest < 0 {
			return nil
		}
		e := b.shares[youngest].last(pops[youngest], record)
		if left += b.shape.lineSize(e); left >= step {
			return nil
		}
		pops[youngest]++
	}
	return pops
}

// last returns the share's last event before the popped ones, if it is in the record; else nil.
func (s *Share) last(popped, record int) *wal.Event {
	n := len(s.Events) - 1 - popped
	if n < 0 || s.runs[n].record != record {
		return nil
	}
	return &s.Events[n]
}

// shorten takes the last n events out of a share and its records.
func (b *Batch) shorten(s *Share, n int) {
	for ; n > 0; n-- {
		last := len(s.Events) - 1
		run, size := s.runs[last], b.shape.lineSize(&s.Events[last])
		d := b.drafts[run.record]
		run.events = run.events[:len(run.events)-1]
		run.size -= size
		d.size -= size
		d.events--
		b.size -= size
		b.events--
		b.unplan(d.part, size, 0)
		b.unplan(b.laneOf(&s.Events[last]), size, 0)
		s.Events, s.runs = s.Events[:last], s.runs[:last]
	}
}

// dropEmpty removes the shares, records and runs that have no events any more.
func (b *Batch) dropEmpty() {
	b.shares = slices.DeleteFunc(b.shares, func(s Share) bool { return len(s.Events) == 0 })
	kept := b.drafts[:0]
	for _, d := range b.drafts {
		key := d.runs[0].key
		d.runs = slices.DeleteFunc(d.runs, func(run *keyRun) bool { return len(run.events) == 0 })
		if len(d.runs) == 0 {
			b.size -= b.shape.keyCost(key)
			b.unplan(d.part, b.shape.keyCost(key), 1)
			continue
		}
		for _, run := range d.runs {
			run.record = len(kept)
		}
		kept = append(kept, d)
	}
	b.drafts = kept
}

// laneOf returns the pace of an event's lane; nil: none.
func (b *Batch) laneOf(e *wal.Event) *pace.Pace {
	if b.pacer == nil {
		return nil
	}
	return b.pacer.Lane(e.Lane)
}

// unplan removes the load of events that are not sent from a pace, which may be nil.
func (b *Batch) unplan(at *pace.Pace, bytes, records int) {
	if at != nil {
		b.pacer.Plan(at, -bytes, -records)
	}
}
