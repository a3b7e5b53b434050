package wal

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxGroup bounds the bytes of one commit; what waits beyond it takes the next.
	maxGroup = 8 << 20
	// roomPoll is how often appends that wait for room look again.
	roomPoll = 20 * time.Millisecond
)

// committer writes. Whoever has the turn takes the appends that wait, stores them in one transaction, and
// answers them after its sync; the next group gathers meanwhile. Checkpoints ride along when they are due.
// The turn is mostly the committer's own goroutine's. An appender that has nothing to do but to wait takes it
// for one group when nobody has it: handing a lone batch over and its answer back took a thirtieth of the
// time until it was synced.
type committer struct {
	log *Log

	turn chan struct{} // holds one while somebody has the turn

	mu     sync.Mutex
	queue  []*Ticket
	syncs  []syncCall
	closed bool

	wake    chan struct{} // holds one: there is something to do
	touched chan struct{} // holds one: a place has moved
	done    chan struct{} // closed by run

	// Below: of whoever has the turn.
	waiting        []*Ticket // taken from the queue, in order
	full           bool      // the first of waiting needs room
	lastCheckpoint time.Time
	until          uint64    // the checkpoint under way is whole once so many places are popped from Log.dirty
	due            time.Time // when the places that moved are to be synced; zero: none moved
	producers      map[producerKey]*producer
	opened         time.Time        // when the committer was made
	forgot         time.Time        // when idle producers were last looked for
	forgotten      []producerKey    // still on the disk
	parts          map[string]*part // of the group under way, by stream
	lookAgain      time.Time        // when the disk is to be asked for its room
	room           int64            // that appends had when the group began
	producerPages  int64            // the producers' share of the state
	needed         uint64           // Log.moves when the newest segment was last found to be needed, and 1
	passed         atomic.Bool      // the log was full, and the segments that the checkpoint settled are truncated
	renewAgain     time.Time        // when to try again to replace it, after that did not work
	packer         packer
}

func newCommitter(l *Log) *committer {
	return &committer{
		log:       l,
		turn:      make(chan struct{}, 1),
		wake:      make(chan struct{}, 1),
		touched:   make(chan struct{}, 1),
		done:      make(chan struct{}),
		producers: make(map[producerKey]*producer),
		parts:     make(map[string]*part),
		opened:    time.Now(), forgot: time.Now(),
	}
}

// enqueue adds t to the next group.
func (c *committer) enqueue(t *Ticket) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.queue = append(c.queue, t)
	if t.helps == nil {
		poke(c.wake)
	}
	return nil
}

// help commits one group if nobody has the turn. What is left then, and the timer, is run's.
func (c *committer) help() {
	select {
	case c.turn <- struct{}{}:
	default:
		poke(c.wake)
		return
	}
	panicked := true
	defer func() {
		if panicked { // and somebody may recover from it, as net/http does
			c.log.fail(errPanicked)
		}
		<-c.turn
	}()
	due := c.due
	if c.round() || c.full || c.due != due {
		poke(c.wake)
	}
	panicked = false
}

var errPanicked = errors.New("a commit panicked")

// crowded tells whether what is submitted now shares its commit.
func (c *committer) crowded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) > 0
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// run commits until the log closes; what waits then is still stored. It has the turn unless it waits for
// something to do, and keeps it in the end: nobody commits to a log that is closed.
func (c *committer) run() {
	defer close(c.done)
	c.turn <- struct{}{}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(c.untilDue())
		<-c.turn
		select {
		case <-c.wake:
			c.linger()
		case <-timer.C:
		case <-c.touched:
			poke(c.touched) // gather looks at it
		case <-c.log.closing:
			c.turn <- struct{}{}
			c.shut()
			return
		}
		c.turn <- struct{}{}
		for c.round() {
		}
	}
}

// linger waits for company, unless the log closes.
func (c *committer) linger() {
	if c.log.opts.CommitLinger <= 0 {
		return
	}
	select {
	case <-time.After(c.log.opts.CommitLinger):
	case <-c.log.closing:
	}
}

// moved notes that a place has. While appends wait for room it is written at once, since only then
// can segments be truncated.
func (c *committer) moved() {
	switch {
	case c.full:
		c.due = time.Now()
	case c.due.IsZero():
		c.due = c.lastCheckpoint.Add(CheckpointInterval)
	}
}

func (c *committer) untilDue() time.Duration {
	d := time.Hour
	if !c.due.IsZero() {
		d = max(time.Until(c.due), 0)
	}
	if c.full {
		d = min(d, roomPoll)
	}
	return d
}

// shut stores what waits, writes the last checkpoint and refuses the rest.
func (c *committer) shut() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	for c.round() {
	}
	for _, t := range c.waiting {
		c.refuse(t, ErrClosed)
	}
	c.waiting = nil
	if c.log.Failed() != nil {
		return
	}
	end := c.log.dirty.end()
	for again := true; again; {
		g := &group{checkpoint: true}
		c.mu.Lock()
		g.syncs, c.syncs = c.syncs, nil
		c.mu.Unlock()
		err := c.commit(g)
		g.answer(c, err)
		if err != nil {
			c.log.opts.Logger.Error("the last checkpoint was not stored", "error", err)
		}
		again = err == nil && !c.log.dirty.done(end)
	}
}

// round commits one group and tells whether some of what it found is left for another.
func (c *committer) round() bool {
	g := &group{}
	c.gather(g)
	if err := c.log.Failed(); err != nil {
		c.refuseAll(fmt.Errorf("%w; nothing of this append was stored", err))
		g.answer(c, err)
		return false
	}
	if c.passed.Swap(false) {
		c.renewIfFull()
	}
	c.fill(g)
	if len(g.tickets) > 0 || g.checkpoint {
		err := c.commit(g)
		if g.checkpoint && c.log.fullSince.Load() != nil {
			c.log.truncator.afterPass(func() {
				c.passed.Store(true)
				poke(c.wake)
			})
		}
		g.answer(c, err)
	}
	return len(c.waiting) > 0 && !c.full
}

// gather takes over what has been enqueued.
func (c *committer) gather(g *group) {
	select {
	case <-c.touched:
		c.moved()
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, c.queue...)
	clear(c.queue)
	c.queue = c.queue[:0]
	g.syncs, c.syncs = c.syncs, nil
	g.checkpoint = len(g.syncs) > 0 || !c.due.IsZero() && !time.Now().Before(c.due)
}

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
