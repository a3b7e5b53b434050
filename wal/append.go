package wal

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// Ticket stands for a batch on its way to the disk.
type Ticket struct {
	stream   string
	producer producerKey
	sequence uint64
	chain    *Chain

	frames []byte      // of all events, one after another; nil once packed
	cuts   []frameCut  // where each frame ends
	weight int64       // what it holds of Log.room
	taken  atomic.Bool // by the committer, or by a caller who gave up
	done   chan struct{}

	// Set before done is closed.
	result Appended
	err    error
}

// frameCut ends a frame within Ticket.frames.
type frameCut struct{ end, payload uint32 }

var framePool = sync.Pool{New: func() any { return new([]byte) }}

// poolable bounds the buffers that are kept for reuse.
const poolable = 1 << 20

// Submit hands b to the committer and returns without waiting for the disk. It waits only while
// 32 MiB of appends are under way, for as long as ctx allows. Batches that one goroutine
// submits are stored in that order. The log keeps no reference to b.
//
// Errors: ErrClosed; ErrFailed; ctx's. Nothing was stored then.
func (l *Log) Submit(ctx context.Context, b *Batch) (*Ticket, error) {
	if b.Stream == "" || len(b.Events) == 0 {
		return nil, fmt.Errorf("wal: a batch needs a stream and at least one event, has %d", len(b.Events))
	}
	if err := l.usable(); err != nil {
		return nil, err
	}
	t := newTicket(b)
	if err := l.room.Acquire(ctx, t.weight); err != nil {
		t.release()
		return nil, err
	}
	if err := l.committer.enqueue(t); err != nil {
		l.room.Release(t.weight)
		return nil, err
	}
	return t, nil
}

// newTicket encodes the batch's events, which is all of the work that needs no offset.
func newTicket(b *Batch) *Ticket {
	t := &Ticket{
		stream: b.Stream, sequence: b.ProducerSequence, chain: b.Chain,
		cuts: make([]frameCut, len(b.Events)),
		done: make(chan struct{}),
	}
	if b.ProducerID != "" && b.ProducerSequence > 0 {
		t.producer = producerKey{b.ProducerID, b.Stream}
	}
	size := 0
	for i := range b.Events {
		size += frameSize(&b.Events[i])
	}
	buf := *framePool.Get().(*[]byte)
	if cap(buf) < size {
		buf = make([]byte, 0, size)
	}
	buf = buf[:0]
	for i := range b.Events {
		e := &b.Events[i]
		buf = appendFrame(buf, e, LaneOf(e.Key))
		t.cuts[i] = frameCut{uint32(len(buf)), uint32(len(e.Data))}
	}
	t.frames = buf
	t.weight = min(int64(size), maxWaiting)
	return t
}

// release gives the frames' buffer back once they have been packed or refused.
func (t *Ticket) release() {
	if cap(t.frames) <= poolable {
		buf := t.frames
		framePool.Put(&buf)
	}
	t.frames = nil
}

// Done is closed once the batch is synced or refused.
func (t *Ticket) Done() <-chan struct{} { return t.done }

// Result returns where the batch was stored, or why it was not. Call it after Done is closed.
func (t *Ticket) Result() (Appended, error) { return t.result, t.err }

// Wait waits for the batch to be synced. When ctx ends first and the committer has not begun
// with the batch, it is withdrawn: nothing is stored and ctx's error is returned. When the
// committer has begun, Wait goes on to the outcome, which is a commit away.
func (t *Ticket) Wait(ctx context.Context) (Appended, error) {
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

// Append stores b and returns once it is synced. Errors: see Submit and Ticket.Wait, and ErrFull,
// ErrChainBroken and ErrSequence, with which nothing was stored; with ErrFailed the error's text
// says whether the outcome is known.
func (l *Log) Append(ctx context.Context, b *Batch) (Appended, error) {
	t, err := l.Submit(ctx, b)
	if err != nil {
		return Appended{}, err
	}
	return t.Wait(ctx)
}

// WaitSettled waits until every destination of the stream has settled the events of a. delivered
// is false when a destination of the stream has dead-lettered or dropped events meanwhile.
func (l *Log) WaitSettled(ctx context.Context, stream string, a Appended) (delivered bool, err error) {
	s := l.lookup(stream)
	if s == nil {
		return false, fmt.Errorf("wal: no stream %q", stream)
	}
	next := a.First + uint64(a.Count)
	places := s.sortedPlaces()
	before := lostBy(places)
	for _, p := range places {
		if err := l.waitPlace(ctx, s, p, next); err != nil {
			return false, err
		}
	}
	return lostBy(places) == before, nil
}

func lostBy(places []*Place) (c Count) {
	for _, p := range places {
		c.Add(p.lost())
	}
	return c
}

func (l *Log) waitPlace(ctx context.Context, s *stream, p *Place, next uint64) error {
	for {
		moved := s.settled.wait()
		if p.settledThrough(AllLanes, next) {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.closing:
			return ErrClosed
		}
	}
}
