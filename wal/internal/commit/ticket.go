package commit

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/layout"
	"github.com/standpipe/standpipe/wal/internal/producer"
	"github.com/standpipe/standpipe/wal/internal/queue"
	"github.com/standpipe/standpipe/wal/internal/receipt"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Ticket is a batch on its way to the disk.
type Ticket struct {
	numbered producer.Batch // its Producer is zero for a batch without a sequence
	chain    *Chain
	receipt  receipt.Receipt // of the batch
	discards []uint64        // see Receipts.Discard
	discard  bool            // the ticket has no batch; receipt.Owner is the owner of discards

	frames    layout.Frames // empty once stored or rejected
	weight    int64         // bytes that it holds of Committer.waitBudget
	held      Reservation   // of its stream's budget
	committer *Committer
	taken     atomic.Bool // by the committer, or by a caller that withdrew it
	inline    bool        // Wait may commit inline
	linger    time.Duration
	done      chan struct{}

	// Set before done is closed.
	result Appended
	err    error
}

const (
	// maxWaiting bounds the bytes of appends that wait for the committer; Submit waits above it.
	maxWaiting = 16 << 20
	// maxProducerID is the longest ID of a producer in bytes.
	maxProducerID = 1 << 10
	// maxBatch bounds the bytes of the frames of all events of a batch: the events with their framing in a block.
	maxBatch = 64 << 20
	// LargestCommit is the most that one commit adds to a segment: a full group and the append that overfills it.
	LargestCommit = maxGroup + maxBatch
)

// Submit enqueues b, and returns without waiting for the disk: see Log.Submit. Wait may commit the batch itself if it is
// awaited.
func (c *Committer) Submit(ctx context.Context, b *Batch, awaited bool) (t *Ticket, err error) {
	if b.Chain != nil {
		if b.Chain.stopped {
			return nil, ErrChainBroken
		}
		defer func() { b.Chain.stopped = err != nil }()
	}
	size, overhead, err := b.check()
	if err != nil {
		return nil, err
	}
	if err := c.o.usable(); err != nil {
		return nil, err
	}
	weight := min(size, maxWaiting)
	t = newTicket(c, b)
	if t.linger = cmp.Or(b.Linger, c.o.Linger); c.impatient.Load() {
		t.linger = 0
	}
	t.inline = awaited && t.linger <= 0
	t.held.Overhead = overhead
	t.held.Bytes = bounds.HeldBytes(b.count()) + overhead
	if stored, err := t.acquire(ctx, b, weight); err != nil {
		return nil, err
	} else if stored {
		return t, nil
	}
	note := t.note()
	t.frames.Encode(b.Stream, b.Events, size, &note, t.linger > 0 || c.crowded())
	if err := c.enqueue(t); err != nil {
		t.frames.Release()
		t.release(Appended{}, false)
		c.waitBudget.Release(weight)
		return nil, err
	}
	return t, nil
}

// note returns the note of the batch for its block; the zero note if it is not numbered.
func (t *Ticket) note() segment.Note {
	b := &t.numbered
	return segment.Note{Producer: b.Producer.ID, Sequence: b.Sequence, Events: b.Events, Next: b.Next}
}

// acquire acquires the ticket's bytes of its stream's budget, and of the appends under way. Both may wait until other events
// are settled. A batch that is stored already waits for neither: stored reports that its ticket is complete.
func (t *Ticket) acquire(ctx context.Context, b *Batch, weight int64) (stored bool, err error) {
	c := t.committer
	if b.Rejection != nil {
		err = t.held.Reject(b.Rejection)
	} else if err = c.o.Budgets.Reserve(ctx, &t.held); err == ErrWaits { //nolint:errorlint // Reserve returns it as it is
		if t.repeats(len(b.Events)) {
			return true, nil
		}
		t.held.Unknown = true
		err = c.o.Budgets.Reserve(ctx, &t.held)
	}
	if err != nil {
		return false, err
	}
	if !c.waitBudget.TryAcquire(weight) {
		if t.held.Numbered && t.repeats(len(b.Events)) {
			t.release(Appended{}, false)
			return true, nil
		}
		if err := c.waitBudget.Acquire(ctx, weight); err != nil {
			t.release(Appended{}, false)
			return false, err
		}
	}
	t.weight = weight
	return false, nil
}

// repeats completes the ticket of a numbered batch that is stored already. It waits for the commit under way at most.
func (t *Ticket) repeats(events int) bool {
	c := t.committer
	select {
	case c.leader <- struct{}{}:
	case <-c.done:
		return false
	}
	defer func() { <-c.leader }()
	at, known, err := c.producers.Recognize(&t.numbered)
	if err != nil || !known {
		return false // the committer decides
	}
	t.inline, t.result = false, Appended{First: at, Count: events, Duplicate: true}
	t.taken.Store(true)
	close(t.done)
	return true
}

// release releases the bytes that the ticket holds of its stream's budget.
func (t *Ticket) release(a Appended, stored bool) {
	t.committer.o.Budgets.Release(&t.held, segment.Run{First: a.First, Next: a.First + uint64(a.Count)}, stored)
}

func (o *Options) usable() error {
	select {
	case <-o.Closing:
		return segment.ErrClosed
	default:
		return o.Failed()
	}
}

func (b *Batch) count() segment.Count {
	c := segment.Count{Events: uint64(len(b.Events))}
	for i := range b.Events {
		c.Bytes += uint64(len(b.Events[i].Data))
	}
	return c
}

// check returns the bytes of the batch's frames, and how many of them are overhead.
func (b *Batch) check() (size, overhead int64, err error) {
	switch {
	case b.Stream == "" || len(b.Events) == 0:
		return 0, 0, fmt.Errorf("wal: a batch needs a stream and at least one event, has %d", len(b.Events))
	case len(b.Stream) > segment.MaxStreamName:
		return 0, 0, fmt.Errorf("wal: a stream's name has %d bytes, at most %d", len(b.Stream), segment.MaxStreamName)
	case len(b.ProducerID) > maxProducerID:
		return 0, 0, fmt.Errorf("wal: a producer's id has %d bytes, at most %d", len(b.ProducerID), maxProducerID)
	case len(b.Receipt.Owner) > maxProducerID:
		return 0, 0, fmt.Errorf("wal: the owner of a receipt has %d bytes, at most %d", len(b.Receipt.Owner), maxProducerID)
	case b.ProducerSequence > math.MaxUint64-uint64(len(b.Events)):
		return 0, 0, &producer.SequenceError{Producer: b.ProducerID, Got: b.ProducerSequence}
	case b.ProducerNext > 0 && b.ProducerNext < b.ProducerSequence+uint64(len(b.Events)):
		return 0, 0, &producer.SequenceError{Producer: b.ProducerID, Got: b.ProducerNext, Want: b.ProducerSequence + uint64(len(b.Events))}
	}
	for i := range b.Events {
		n := segment.FrameSize(&b.Events[i])
		size += int64(n)
		overhead += bounds.OverheadOf(&b.Events[i], n)
	}
	if size > maxBatch {
		return 0, 0, fmt.Errorf("%w: its %d events take %d bytes, at most %d are allowed", ErrTooLarge, len(b.Events), size, maxBatch)
	}
	return size, overhead, nil
}

func newTicket(c *Committer, b *Batch) *Ticket {
	t := &Ticket{committer: c, chain: b.Chain, receipt: b.Receipt, done: make(chan struct{})}
	t.held.Stream, t.receipt.Stream = b.Stream, b.Stream
	if b.ProducerID != "" && b.ProducerSequence > 0 {
		t.numbered = producer.Batch{
			Producer: producer.Key{ID: b.ProducerID, Stream: b.Stream}, Sequence: b.ProducerSequence,
			Next: b.ProducerSequence + uint64(len(b.Events)), Events: uint64(len(b.Events)),
		}
		if b.ProducerNext > 0 {
			t.numbered.Next, t.numbered.Leaps = b.ProducerNext, true
		}
		t.held.Numbered = true
	}
	return t
}

// Done returns a channel that is closed once the batch is synced or rejected.
func (t *Ticket) Done() <-chan struct{} { return t.done }

// Result returns the position of the stored batch, or an error if it was not stored. Call it after Done is closed.
func (t *Ticket) Result() (Appended, error) { return t.result, t.err }

// Wait waits for the batch to be synced. If ctx ends before the committer has begun with the batch, the batch is
// withdrawn: nothing is stored, and Wait returns ctx's error. If the committer has begun, Wait waits for the outcome,
// which is one commit away. If the batch is Awaited and no other goroutine commits, Wait commits the batch itself.
func (t *Ticket) Wait(ctx context.Context) (Appended, error) {
	switch {
	case !t.inline:
	case ctx.Err() != nil:
		withdrawn := t.taken.CompareAndSwap(false, true)
		queue.Poke(t.committer.wake) // the next commit ends it
		if withdrawn {
			return Appended{}, ctx.Err()
		}
	default:
		t.committer.commitInline()
	}
	select {
	case <-t.done:
		return t.result, t.err
	case <-ctx.Done():
	}
	if t.taken.CompareAndSwap(false, true) {
		return Appended{}, ctx.Err()
	}
	<-t.done
	return t.result, t.err
}
