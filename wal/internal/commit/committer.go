package commit

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/standpipe/standpipe/wal/internal/layout"
	"github.com/standpipe/standpipe/wal/internal/producer"
	"github.com/standpipe/standpipe/wal/internal/queue"
	"github.com/standpipe/standpipe/wal/internal/receipt"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// fullPoll is the interval at which the waiting appends of a full log are tried again.
const fullPoll = 20 * time.Millisecond

// Committer stores appends and checkpoints in commit groups. One goroutine at a time leads: it collects the queued
// appends, commits them with one transaction, and responds to their callers after the sync. The next group gathers
// meanwhile.
//
// The goroutine of Run leads unless it is idle. Then a caller of Ticket.Wait that submitted its batch with Batch.Awaited
// leads one group itself, which saves two switches between goroutines.
//
// Lock order: the lead (the channel leader), then the locks of liveset.Set and of streams and cursors, then mu.
type Committer struct {
	o          Options
	waitBudget *semaphore.Weighted // bytes of appends under way

	leader chan struct{} // holds one while a goroutine leads

	mu       sync.Mutex // guards queue, schedule, syncs, and closed for writing
	queue    []*Ticket
	schedule schedule
	syncs    []syncCall
	closed   bool

	wake    chan struct{} // holds one: there is work
	callers callers
	touched chan struct{} // holds one: a cursor moved
	moves   atomic.Uint64 // calls of Touch so far
	within  atomic.Int64  // the shortest time of the calls of Touch that moved has not handled; 0: none

	impatient atomic.Bool   // no batch waits for others
	done      chan struct{} // closed by Run

	// Owned by the leader.
	deletions  deletions
	waiting    []*Ticket // dequeued, in order
	full       bool      // the first of waiting needs free bytes
	examined   int       // see admitRepeats
	until      uint64    // the checkpoint under way is complete once this many cursors are popped from Cursors
	checkpoint deadline  // zero: no cursor moved
	producers  *producer.Set
	receipts   *receipt.Set
	parts      map[string]*streamPart // of the group under way, by stream
	free       int64                  // bytes for appends when the group began
	needed     uint64                 // moves+1 when a destination last needed the newest segment
	passed     atomic.Bool            // the log was full, and the truncator has handled the checkpoint since
	renewAgain time.Time              // no attempt to renew the newest segment before
	blocks     layout.Builder
}

// New returns a Committer that stores nothing before Run, except for callers of Ticket.Wait.
func New(o Options) *Committer {
	return &Committer{
		o:          o,
		waitBudget: semaphore.NewWeighted(maxWaiting),
		leader:     make(chan struct{}, 1),
		wake:       make(chan struct{}, 1),
		callers:    callers{arrived: make(chan struct{}, 1)},
		touched:    make(chan struct{}, 1),
		done:       make(chan struct{}),
		producers:  producer.NewSet(&o.Capacity.StateBytes, o.ProducerIdle, o.Logger),
		receipts:   receipt.NewSet(o.Capacity.AddCursor),
		parts:      make(map[string]*streamPart),
	}
}

// Producers returns the producers that have sent numbered batches. The leader owns them after Run has begun.
func (c *Committer) Producers() *producer.Set { return c.producers }

// Receipts returns the receipts of the log. The leader owns them after Run has begun.
func (c *Committer) Receipts() *receipt.Set { return c.receipts }

// Done returns a channel that is closed when Run has returned.
func (c *Committer) Done() <-chan struct{} { return c.done }

// Wake makes the committer try the waiting appends again: there may be free bytes.
func (c *Committer) Wake() { queue.Poke(c.wake) }

// Exclude runs f while no commit is under way.
func (c *Committer) Exclude(f func() bool) bool {
	select {
	case c.leader <- struct{}{}:
		defer func() { <-c.leader }()
	case <-c.done:
	}
	return f()
}

// enqueue adds t to the next group.
func (c *Committer) enqueue(t *Ticket) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return segment.ErrClosed
	}
	c.queue = append(c.queue, t)
	if c.schedule.add(t.linger, t.weight) && !t.inline {
		queue.Poke(c.wake)
	}
	if t.inline {
		c.callers.add()
	}
	return nil
}

// crowded reports whether other appends are queued, so that a batch submitted now shares its commit.
func (c *Committer) crowded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) > 0
}

var errPanicked = errors.New("a commit panicked")

// commitInline commits one group on the caller's goroutine if no other goroutine leads. The committer's goroutine does
// the rest: other waiting appends, and the timer.
func (c *Committer) commitInline() {
	select {
	case c.leader <- struct{}{}:
	default:
		queue.Poke(c.wake)
		return
	}
	panicked := true
	defer func() {
		if panicked { // the caller may recover from it, as net/http does
			c.o.Fail(errPanicked)
		}
		<-c.leader
	}()
	due := c.checkpoint.due
	if c.commitNext() || c.full || c.checkpoint.due != due {
		queue.Poke(c.wake)
	}
	panicked = false
}

// Run commits until the log closes, and then stores the waiting appends. It leads unless it waits for work. At the end
// it keeps the lead, so that no goroutine commits to a closed log.
func (c *Committer) Run() {
	defer close(c.done)
	c.leader <- struct{}{}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(c.untilDue())
		<-c.leader
		select {
		case <-c.wake:
		case <-timer.C:
		case <-c.touched:
			queue.Poke(c.touched) // gather handles it
		case <-c.o.Closing:
			c.leader <- struct{}{}
			c.shut()
			return
		}
		c.leader <- struct{}{}
		for c.commitNext() {
		}
	}
}

func (c *Committer) untilDue() time.Duration {
	d := time.Hour
	if !c.checkpoint.due.IsZero() {
		d = max(time.Until(c.checkpoint.due), 0)
	}
	if c.full {
		d = min(d, fullPoll)
	}
	c.mu.Lock()
	by := c.schedule.by
	c.mu.Unlock()
	if !by.IsZero() {
		d = min(d, max(time.Until(by), 0))
	}
	return d
}

// shut stores the waiting appends, writes the last checkpoint, and rejects the rest.
func (c *Committer) shut() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	for c.commitNext() {
	}
	for _, t := range c.waiting {
		c.reject(t, segment.ErrClosed)
	}
	c.waiting = nil
	if c.o.Failed() != nil {
		return
	}
	end := c.o.Cursors.End()
	for again := true; again; {
		g := &group{checkpoint: true}
		c.mu.Lock()
		g.syncs, c.syncs = c.syncs, nil
		c.mu.Unlock()
		err := c.commit(g)
		g.respond(c, err)
		if err != nil {
			c.o.Logger.Error("last checkpoint not stored", "error", err)
		}
		again = err == nil && !c.o.Cursors.Done(end)
	}
}

// gather dequeues the callers of Sync and, if a commit is due, the appends.
func (c *Committer) gather(g *group) {
	select {
	case <-c.touched:
		c.moved()
	default:
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	g.syncs, c.syncs = c.syncs, nil
	g.checkpoint = len(g.syncs) > 0 || c.checkpoint.passed(now)
	ripe := c.schedule.ripe(now, c.impatient.Load()) || g.checkpoint && c.schedule.near(now)
	if !ripe && len(c.waiting) == 0 && !c.closed && c.o.Failed() == nil {
		return
	}
	c.waiting = append(c.waiting, c.queue...)
	clear(c.queue)
	c.queue = c.queue[:0]
	c.schedule = schedule{}
	c.callers.queued.Store(0)
}
