package wal

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// roomPoll is how often appends that wait for room look again.
const roomPoll = 20 * time.Millisecond

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
