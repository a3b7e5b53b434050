package commit

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/producer"
)

// maxGroup bounds the bytes of one commit. Appends beyond it wait for the next.
const maxGroup = 8 << 20

var errWithdrawn = errors.New("wal: the append was withdrawn")

// admitWaiting moves waiting appends into the group, in order, until the group is large or the log is full.
func (c *Committer) admitWaiting(g *group) {
	c.full = false
	if len(c.waiting) == 0 {
		return
	}
	if c.producers.EvictionDue() {
		c.evictProducers()
	}
	now := c.o.Clock()
	c.free = c.o.Capacity.SpaceForCommit()
	n := 0
	for n < len(c.waiting) && c.admit(g, c.waiting[n], now) {
		n++
	}
	rest := copy(c.waiting, c.waiting[n:])
	clear(c.waiting[rest:])
	c.waiting = c.waiting[:rest]
	if n > 0 {
		c.examined = 0
	}
	if c.full {
		c.admitRepeats(g, now)
		c.o.Capacity.NoteFull()
		c.o.DropOldest()
	}
	if c.o.Capacity.NotedFull() && !c.checkpoint.due.IsZero() {
		c.checkpoint.within(SoonInterval) // only a checkpoint lets segments be truncated
	}
}

// admitRepeats completes the appends behind one that waits for free bytes, if they need none: those that repeat a stored
// batch, and those of unknown batches that are to be rejected. Each append is examined once, unless another one leaves the
// queue meanwhile.
func (c *Committer) admitRepeats(g *group, now time.Time) {
	kept := c.waiting[:min(c.examined, len(c.waiting))]
	for _, t := range c.waiting[len(kept):] {
		if !t.needsNoBytes(c.producers, kept) || !c.admit(g, t, now) {
			kept = append(kept, t)
		}
	}
	clear(c.waiting[len(kept):])
	c.waiting, c.examined = kept, len(kept)
}

// needsNoBytes reports whether t can be completed in a full log, behind the appends in before.
func (t *Ticket) needsNoBytes(stored *producer.Set, before []*Ticket) bool {
	if !t.held.Numbered {
		return t.discard && !slices.ContainsFunc(before, func(o *Ticket) bool { return o.receipt.Owner == t.receipt.Owner })
	}
	_, known, err := stored.Recognize(&t.numbered)
	if known || err != nil || t.held.Rejection == nil {
		return known
	}
	return !slices.ContainsFunc(before, func(o *Ticket) bool { return o.numbered.Producer == t.numbered.Producer }) // it may repeat one of these
}

// evictProducers evicts idle producers. A later commit with enough free bytes deletes their entries.
func (c *Committer) evictProducers() {
	even := c.o.ClockEvenFor(min(c.o.ProducerIdle, bounds.LongEnough))
	if keys, bytes := c.producers.Evict(c.o.Clock(), even); len(keys) > 0 {
		c.deletions.add(deletions{producers: keys, pages: bytes})
	}
}

// admit adds t to the group, or rejects it. It returns false when t has to wait: for the next group, or, when c.full is
// set, for free bytes in the log.
func (c *Committer) admit(g *group, t *Ticket, now time.Time) bool {
	switch {
	case t.taken.Load():
		c.end(t, errWithdrawn)
		return true
	case t.chain != nil && t.chain.broken:
		c.reject(t, ErrChainBroken)
		return true
	}
	if t.discard {
		return g.discard(c, t)
	}
	var need, names int64
	at, known, err := c.producers.Recognize(&t.numbered)
	if err == nil && !known {
		err = t.held.Rejection
	}
	if err == nil && !known {
		names, err = c.checkNames(g, t)
	}
	if err == nil && !known {
		need, err = c.reserve(g, t, names)
	}
	switch {
	case err != nil:
		c.reject(t, err)
		return true
	case !known && need == 0:
		return false
	}
	if !t.taken.CompareAndSwap(false, true) {
		c.end(t, errWithdrawn)
		return true
	}
	if known {
		g.add(t, Appended{First: at, Count: t.frames.Events(), Duplicate: true})
		return true
	}
	g.need += need
	g.names += names
	c.assign(g, t, now)
	return true
}

// checkNames returns the bytes that the new names in t add to the state, or the error that rejects them.
func (c *Committer) checkNames(g *group, t *Ticket) (pages int64, err error) {
	rejected := StateError{Stream: t.held.Stream}
	if c.parts[t.held.Stream] == nil {
		pages = c.o.Streams.NewBytes(t.held.Stream)
	}
	if t.numbered.Producer.ID != "" && !c.producers.Has(t.numbered.Producer) {
		if pages == 0 {
			rejected.Producer = t.numbered.Producer.ID
		}
		pages += producer.NewBytes(t.numbered.Producer)
	}
	if t.receipt.Owner != "" {
		pages += c.receipts.NewBytes(&t.receipt)
	}
	if pages == 0 {
		return 0, nil
	}
	rejected.Used, rejected.Max = c.o.Capacity.StateBytes.Load()+g.names, c.o.Capacity.MostState()
	if rejected.Used+pages > rejected.Max {
		c.o.Capacity.NoteStateFull(&rejected, rejected.Used, rejected.Max)
		return 0, &rejected
	}
	return pages, nil
}

// reserve returns how many of the group's remaining bytes t needs. 0: t has to wait, for the next group or, when c.full
// is set, for free bytes in the log; an error: t is rejected. names is the number of bytes that t's new names add to
// the state.
func (c *Committer) reserve(g *group, t *Ticket, names int64) (need int64, err error) {
	if need := t.frames.Growth(t.held.Stream); need > c.o.Capacity.LargestAppend() {
		return 0, fmt.Errorf("%w: it takes %d bytes, an empty log of %d bytes has room for %d", ErrTooLarge, need, c.o.Capacity.Max(), c.o.Capacity.LargestAppend())
	}
	need = t.frames.Growth(t.held.Stream) + namesNeed*names
	if g.need == 0 {
		end := c.o.Segments.Newest().End()
		need += end.Size()
	}
	switch {
	case g.need+need <= c.free && g.need < maxGroup:
		return need, nil
	case g.need > 0: // the commit takes less than its estimate: check again after it
		return 0, nil
	case releaseRetained(c) && need <= c.free, c.renew(need) && need <= c.free:
		return need, nil
	case c.o.OnFull() == bounds.Reject:
		c.o.Capacity.NoteFull()
		return 0, c.o.fullError(need)
	}
	c.full = true
	return 0, nil
}

// releaseRetained unlinks all retained segments before an append is rejected or waits. Their bytes counted as free already,
// but the volume may have fewer than that. It reports whether there were any.
func releaseRetained(c *Committer) bool {
	retained := c.o.Segments.Use().Retained
	if retained == 0 || !c.o.Capacity.Release(retained) {
		return false
	}
	c.free = c.o.Capacity.SpaceForCommit()
	return true
}

// namesNeed is the number of times that the bytes of new names count: in this segment's state, in a checkpoint and in
// the next segment.
const namesNeed = 3

// assign assigns offsets to t's events.
func (c *Committer) assign(g *group, t *Ticket, now time.Time) {
	p := g.part(c, t.held.Stream)
	first := p.next
	p.next += uint64(t.frames.Events())
	p.tickets = append(p.tickets, t)
	g.time = now.UnixNano()
	g.events += t.frames.Events()
	if t.numbered.Producer.ID != "" {
		c.producers.Store(&g.producers, &t.numbered, first, now, c.o.Capacity.MostRuns())
	}
	if t.receipt.Owner != "" {
		t.receipt.Stream, t.receipt.First = p.name, first
		c.receipts.Put(&g.receipts, t.receipt, c.o.Capacity.MostState()/receiptsPart)
	}
	g.add(t, Appended{First: first, Count: t.frames.Events()})
}

// reject ends t with err. A caller that has withdrawn t does not see err.
func (c *Committer) reject(t *Ticket, err error) {
	t.taken.Store(true)
	c.end(t, err)
}

func (c *Committer) rejectAll(err error) {
	for _, t := range c.waiting {
		c.reject(t, err)
	}
	c.waiting = c.waiting[:0]
	c.full = false
}

// end ends a ticket that stored nothing. The rest of its chain is not stored either.
func (c *Committer) end(t *Ticket, err error) {
	if t.chain != nil {
		t.chain.broken = true
	}
	c.respond(t, Appended{}, err)
}

// fullError returns the error of an append that needs more bytes than are free.
func (o *Options) fullError(need int64) error {
	e := FullError{Used: o.used(), Max: o.Capacity.Max(), RetryAfter: capacity.RetryAfter}
	if o.Capacity.DiskIsFull(need) {
		e.Max = 0
	}
	return &e
}

// used returns the bytes that the segments occupy.
func (o *Options) used() int64 { return o.Capacity.Used(o.Segments.Use()) }

// respond releases the buffer and the budgets that t holds, and returns the result to t's caller.
func (c *Committer) respond(t *Ticket, a Appended, err error) {
	if !t.discard {
		t.frames.Release()
	}
	c.waitBudget.Release(t.weight)
	t.release(a, err == nil && !a.Duplicate)
	t.result, t.err = a, err
	close(t.done)
}
