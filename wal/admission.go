package wal

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// maxGroup bounds the bytes of one commit; what waits beyond it takes the next.
const maxGroup = 8 << 20

// fill moves what waits into the group, in order, until the group is large or the log is full.
func (c *committer) fill(g *group) {
	c.full = false
	if len(c.waiting) == 0 {
		return
	}
	c.forget()
	now := c.log.opts.Clock()
	c.room = c.space()
	n := 0
	for n < len(c.waiting) && c.admit(g, c.waiting[n], now) {
		n++
	}
	rest := copy(c.waiting, c.waiting[n:])
	clear(c.waiting[rest:])
	c.waiting = c.waiting[:rest]
	if c.full {
		c.log.noteFull()
		c.log.makeRoom()
	}
}

// admit puts t into the group or refuses it. It returns false when t has to wait: for the next
// group, or, when c.full is set, for room.
func (c *committer) admit(g *group, t *Ticket, now time.Time) bool {
	switch {
	case t.taken.Load():
		c.drop(t, errWithdrawn)
		return true
	case t.chain != nil && t.chain.broken:
		c.refuse(t, ErrChainBroken)
		return true
	}
	var need, names int64
	at, known, err := c.recognise(t)
	if err == nil && !known {
		err = t.refusal
	}
	if err == nil && !known {
		names, err = c.admitNames(g, t)
	}
	if err == nil && !known {
		need, err = c.fits(g, t, names)
	}
	switch {
	case err != nil:
		c.refuse(t, err)
		return true
	case !known && need == 0:
		return false
	}
	if !t.taken.CompareAndSwap(false, true) {
		c.drop(t, errWithdrawn)
		return true
	}
	if known {
		g.add(t, Appended{First: at, Count: t.events, Duplicate: true})
		return true
	}
	g.need += need
	g.names += names
	c.take(g, t, now)
	return true
}

// fits returns the bytes that t needs of the room that the group has left. 0: t has to wait, for the next group or,
// when c.full is set, for room in the log; an error: t is rejected. names is the number of bytes that t's new names add
// to the state.
func (c *committer) fits(g *group, t *Ticket, names int64) (need int64, err error) {
	if need := t.need(); need > c.log.capacity() {
		return 0, fmt.Errorf("%w: it takes %d bytes, an empty log of %d bytes has room for %d", ErrTooLarge, need, c.log.opts.MaxSize, c.log.capacity())
	}
	need = t.need() + namesNeed*names + c.producerNeed(t)
	if g.need == 0 {
		need += c.log.active().end.size() + min(int64(len(c.forgotten))*int64(2*os.Getpagesize()), c.producerPages)
	}
	switch {
	case g.need+need <= c.room && g.need < maxGroup:
		return need, nil
	case g.need > 0: // what is committed takes less than was reckoned: look again then
		return 0, nil
	case c.renew(need) && need <= c.room:
		return need, nil
	case c.log.opts.OnFull == Reject:
		c.log.noteFull()
		return 0, c.log.fullError(need)
	}
	c.full = true
	return 0, nil
}

// need is the most by which t makes the newest segment grow, apart from what it shares with others: a
// leaf holds two blocks at least, and at its end up to a page is unused.
func (t *Ticket) need() int64 {
	size := int64(len(t.frames))
	return size + min(maxBlocks(size), int64(t.events))*int64(blockHeader+len(t.stream)+blockExtra) + int64(partOverhead+len(t.stream))
}

// namesNeed is how often names that are new count: in this segment's state, in a checkpoint and in the next segment.
const namesNeed = 3

// producerNeed returns the most bytes by which the entry of t's producer grows the state.
func (c *committer) producerNeed(t *Ticket) int64 {
	p := c.producers[t.producer]
	if p == nil {
		return 0 // it counts as a name, if there is one
	}
	return 2*p.pages + int64(os.Getpagesize())
}

// maxBlocks is the most blocks that frames of that length take.
func maxBlocks(size int64) int64 { return 2*size/blockAim + 8 }

// recognise tells whether t repeats what is stored.
func (c *committer) recognise(t *Ticket) (at uint64, known bool, err error) {
	p := c.producers[t.producer]
	if p == nil {
		return 0, false, nil
	}
	p.heard = time.Now()
	at, known, err = p.check(t.producer.id, t.sequence, uint64(t.events))
	p.mayLeap = p.mayLeap && !known // a producer that repeats a stored batch has sent nothing that the copy lacks
	return at, known, err
}

// admitNames returns the bytes that the new names in t will add to the state, or the error that rejects them.
func (c *committer) admitNames(g *group, t *Ticket) (pages int64, err error) {
	rejected := StateError{Stream: t.stream}
	if c.parts[t.stream] == nil {
		if s := c.log.lookup(t.stream); s == nil {
			pages = streamPages(t.stream)
		} else if !s.stored.Load() {
			pages = s.pagesOf()
		}
	}
	if t.producer.id != "" && c.producers[t.producer] == nil {
		if pages == 0 {
			rejected.Producer = t.producer.id
		}
		pages += producerPages(t.producer, producerNumbers+runNumbers)
	}
	if pages == 0 {
		return 0, nil
	}
	rejected.Used, rejected.Max = c.log.stateBytes.Load()+g.names, c.log.maxState()
	if rejected.Used+pages > rejected.Max {
		c.log.noteStateFull(&rejected)
		return 0, &rejected
	}
	return pages, nil
}

// take gives t its offsets.
func (c *committer) take(g *group, t *Ticket, now time.Time) {
	p := g.part(c, t.stream)
	first := p.next
	p.next += uint64(t.events)
	p.tickets = append(p.tickets, t)
	g.time = now.UnixNano()
	g.events += t.events
	if t.producer.id != "" {
		g.sequence(c, t, first, now)
	}
	g.add(t, Appended{First: first, Count: t.events})
}

// refuse answers t, unless its caller has given up already.
func (c *committer) refuse(t *Ticket, err error) {
	t.taken.Store(true)
	c.drop(t, err)
}

func (c *committer) refuseAll(err error) {
	for _, t := range c.waiting {
		c.refuse(t, err)
	}
	c.waiting = c.waiting[:0]
	c.full = false
}

// drop ends a ticket of which nothing is stored; what follows it in its chain is not stored either.
func (c *committer) drop(t *Ticket, err error) {
	if t.chain != nil {
		t.chain.broken = true
	}
	c.finish(t, Appended{}, err)
}

func (c *committer) finish(t *Ticket, a Appended, err error) {
	t.release()
	c.log.room.Release(t.weight)
	c.log.releaseShare(t, a, err == nil && !a.Duplicate)
	t.result, t.err = a, err
	close(t.done)
}

var errWithdrawn = errors.New("wal: the append was withdrawn")
