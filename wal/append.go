package wal

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/layout"
	"github.com/standpipe/standpipe/wal/internal/producer"
	"github.com/standpipe/standpipe/wal/internal/queue"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Ticket is a batch on its way to the disk.
type Ticket struct {
	stream   string
	numbered producer.Batch // its Producer is zero for a batch without a sequence
	chain    *Chain

	frames    layout.Frames // empty once stored or rejected
	weight    int64         // bytes that it holds of Log.room
	budgetOf  *stream       // the stream whose budget it holds a part of; nil: none
	budgeted  int64
	overhead  int64       // of the events, in budgeted
	rejection error       // the result, unless the batch is stored already
	taken     atomic.Bool // by the committer, or by a caller that withdrew it
	inline    *committer  // on which Wait may commit inline; nil: none
	done      chan struct{}

	// Set before done is closed.
	result Appended
	err    error
}

// Limits of a batch.
const (
	maxProducerID = 1 << 10
	maxBatch      = 64 << 20 // bytes of the frames of all events: the events with their framing in a block
)

// Submit hands b to the committer and returns without waiting for the disk. It waits, until ctx ends, only while 16 MiB
// of appends are under way, or while the stream's own budget is full under Block or DropOldest. Batches that one
// goroutine submits are stored in that order. The log keeps no reference to b.
//
// Errors: ErrClosed; ErrFailed; ErrChainBroken; ErrSequence; ErrTooLarge; ErrFull if the stream's budget is full; the
// error of ctx; an error for a batch beyond the other limits. After each of them nothing was stored.
func (l *Log) Submit(ctx context.Context, b *Batch) (*Ticket, error) {
	return l.submit(ctx, b, b.Awaited)
}

func (l *Log) submit(ctx context.Context, b *Batch, awaited bool) (t *Ticket, err error) {
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
	if err := l.usable(); err != nil {
		return nil, err
	}
	weight := min(size, maxWaiting)
	t = newTicket(b)
	if awaited && l.opts.CommitLinger <= 0 {
		t.inline = l.committer
	}
	t.overhead = overhead
	if err := l.retention.reserve(ctx, t, bounds.HeldBytes(b.count())+t.overhead); err != nil {
		return nil, err
	}
	if err := l.room.Acquire(ctx, weight); err != nil {
		l.retention.release(t, Appended{}, false)
		return nil, err
	}
	t.weight = weight
	t.frames.Encode(b.Stream, b.Events, size, l.committer.crowded())
	if err := l.committer.enqueue(t); err != nil {
		t.frames.Release()
		l.retention.release(t, Appended{}, false)
		l.room.Release(weight)
		return nil, err
	}
	return t, nil
}

func (b *Batch) count() Count {
	c := Count{Events: uint64(len(b.Events))}
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
	case b.ProducerSequence > math.MaxUint64-uint64(len(b.Events)):
		return 0, 0, &SequenceError{Producer: b.ProducerID, Got: b.ProducerSequence}
	case b.ProducerNext > 0 && b.ProducerNext < b.ProducerSequence+uint64(len(b.Events)):
		return 0, 0, &SequenceError{Producer: b.ProducerID, Got: b.ProducerNext, Want: b.ProducerSequence + uint64(len(b.Events))}
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

func newTicket(b *Batch) *Ticket {
	t := &Ticket{
		stream: b.Stream, chain: b.Chain,
		done: make(chan struct{}),
	}
	if b.ProducerID != "" && b.ProducerSequence > 0 {
		t.numbered = producer.Batch{
			Producer: producer.Key{ID: b.ProducerID, Stream: b.Stream}, Sequence: b.ProducerSequence,
			Next: b.ProducerSequence + uint64(len(b.Events)), Events: uint64(len(b.Events)),
		}
		if b.ProducerNext > 0 {
			t.numbered.Next, t.numbered.Leaps = b.ProducerNext, true
		}
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
	case t.inline == nil:
	case ctx.Err() != nil:
		withdrawn := t.taken.CompareAndSwap(false, true)
		queue.Poke(t.inline.wake) // the next commit ends it
		if withdrawn {
			return Appended{}, ctx.Err()
		}
	default:
		t.inline.commitInline()
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

// Append stores b and returns once it is synced. Its errors are those of Submit and Ticket.Wait, and ErrFull,
// ErrChainBroken and ErrSequence, after which nothing was stored. The text of an ErrFailed states whether the outcome
// is known.
func (l *Log) Append(ctx context.Context, b *Batch) (Appended, error) {
	t, err := l.submit(ctx, b, true)
	if err != nil {
		return Appended{}, err
	}
	return t.Wait(ctx)
}
