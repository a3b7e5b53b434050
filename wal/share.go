package wal

import (
	"context"
	"fmt"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/commit"
)

// Share returns the bytes that the stream holds of its own budget, and the most that it may hold; 0: it has no budget
// of its own. It holds the events that its slowest destination has not settled. An event counts as its payload and 64
// bytes. If its key, attributes and framing take more than 64 bytes, these count instead.
func (l *Log) Share(stream string) (held, most int64) {
	s := l.streams.lookup(stream)
	if s == nil {
		return 0, l.retention.policy(stream).MaxSize
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heldLocked(), s.policy.MaxSize
}

// budgets are the budgets of all streams, for the committer.
type budgets struct{ *retention }

// Reserve implements commit.Budgets.
func (r budgets) Reserve(ctx context.Context, held *commit.Reservation) error {
	s := r.log.streams.pin(held.Stream)
	defer func() {
		if held.Of == nil {
			r.log.streams.unpin(s)
		}
	}()
	for {
		moved := s.settled.Wait()
		policy, over := s.reserve(held)
		switch mode := r.onFull(policy); {
		case over <= 0:
			return nil
		case held.Bytes > policy.MaxSize:
			return held.Reject(fmt.Errorf("%w: it counts %d bytes, stream %q may hold %d", ErrTooLarge, held.Bytes, s.name, policy.MaxSize))
		case mode == Reject:
			return held.Reject(&FullError{Stream: s.name, Used: policy.MaxSize + over - held.Bytes, Max: policy.MaxSize, RetryAfter: capacity.RetryAfter})
		case held.Numbered && !held.Unknown:
			return commit.ErrWaits
		case mode == DropOldest:
			r.dropForAppend(s, held.Bytes)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		case <-r.log.failed:
			return r.log.Failed()
		case <-r.log.closing:
			return ErrClosed
		}
	}
}

// budgetSlack: under DropOldest a drop frees this part of a stream's budget in addition, so that not every append waits
// for a drop.
const budgetSlack = 16

// reserve reserves the bytes, or returns by how many the batch exceeds the budget.
func (s *stream) reserve(held *commit.Reservation) (p Policy, over int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.policy.MaxSize == 0 {
		return s.policy, 0
	}
	if over = s.heldLocked() + s.reserved + held.Bytes - s.policy.MaxSize; over > 0 {
		return s.policy, over
	}
	held.Of = s
	s.reserved += held.Bytes
	return s.policy, 0
}

// heldLocked returns the bytes that the slowest destination has not settled. A stream without a destination holds none.
func (s *stream) heldLocked() (held int64) {
	low := s.next
	for _, p := range s.cursors {
		p.mu.Lock()
		pending := p.pendingLocked()
		needed := p.at.Needed()
		p.mu.Unlock()
		needed.Next = min(needed.Next, s.next)
		held = max(held, bounds.HeldBytes(pending)+s.overheadLocked(pending, needed))
		low = min(low, needed.First)
	}
	s.overhead.Remove(low)
	return held
}

// overheadLocked returns the overhead of the pending events, which are some of those of the run.
func (s *stream) overheadLocked(pending Count, run Run) int64 {
	if s.overhead.Empty() || run.First >= run.Next {
		return 0
	}
	part := float64(pending.Events) / float64(run.Next-run.First)
	return int64(part * float64(s.overhead.In(run)))
}

// pendingLocked returns the events that the cursor has not settled. It is called with the stream's mu and p.mu held.
func (p *Cursor) pendingLocked() Count {
	return p.at.Pending(p.stream.appendedLocked())
}

// checkpointLocked returns the first offset that some destination has not settled.
func (s *stream) checkpointLocked() uint64 {
	low := s.next
	for _, p := range s.cursors {
		p.mu.Lock()
		low = min(low, p.checkpointLocked())
		p.mu.Unlock()
	}
	return low
}

// Release implements commit.Budgets. The events of a stored batch are held by now; otherwise the bytes are free again.
func (r budgets) Release(held *commit.Reservation, run Run, stored bool) {
	if held.Of == nil {
		return
	}
	s := held.Of.(*stream)
	defer r.log.streams.unpin(s)
	s.mu.Lock()
	s.reserved -= held.Bytes
	if stored {
		s.overhead.Add(run, held.Overhead)
	}
	s.mu.Unlock()
	if !stored {
		s.settled.Wake()
	}
}

// dropForAppend makes the stream's destinations drop enough of its oldest blocks for a batch of held bytes, unless
// a drop is under way, or the bytes were freed since the batch found too few.
func (r *retention) dropForAppend(s *stream, held int64) {
	s.mu.Lock()
	from, end, floor := s.checkpointLocked(), s.next, s.floor.Offset()
	over := s.heldLocked() + s.reserved + held - s.policy.MaxSize
	bytes := over + s.policy.MaxSize/budgetSlack
	s.mu.Unlock()
	if from < floor || over <= 0 {
		return
	}
	for bytes > 0 && from < end {
		b, ok := r.log.segments.BlockAt(s.name, from)
		if !ok {
			from = end
			break
		}
		s.mu.Lock()
		bytes -= bounds.HeldBytes(Count{Events: uint64(b.Count), Bytes: b.Bytes}) + s.overhead.In(Run{First: b.First, Next: b.Next()})
		s.mu.Unlock()
		from = b.Next()
	}
	r.dropBelow(s, Floor{Full: from})
}
