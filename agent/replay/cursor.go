package replay

import (
	"sync"

	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// cursor is the position of a replay. It is in memory alone. It implements shipper.Cursor and shipper.DeadLetterQueue.
type cursor struct {
	stream, name string
	to           uint64 // the end of the range, exclusive

	mu       sync.Mutex
	lanes    [wal.Lanes]wal.Progress // guarded by mu
	ledger   wal.Ledger              // guarded by mu
	rejected string                  // the reason of the first event that was; guarded by mu
}

func newCursor(stream, name string, from, to uint64) *cursor {
	c := &cursor{stream: stream, name: name, to: to}
	for lane := range c.lanes {
		c.lanes[lane].Checkpoint = from
	}
	return c
}

func (c *cursor) Stream() string { return c.stream }

func (c *cursor) Name() string { return c.name }

func (c *cursor) Lanes() [wal.Lanes]wal.Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lanes
}

func (c *cursor) Settle(step wal.Settlement) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for lane, progress := range step.Lanes {
		c.lanes[lane] = c.lanes[lane].With(progress)
	}
	c.ledger.Delivered.Add(step.Add.Delivered)
	c.ledger.Dead.Add(step.Add.Dead)
	return nil
}

// Lose is never called: a replay ends at damage (source.Read).
func (c *cursor) Lose(corrupt *wal.CorruptError, from uint64, _ *wal.Held) func() (uint64, error) {
	return func() (uint64, error) { return from, corrupt }
}

// Floor drops nothing: a range that is requested again has no age.
func (c *cursor) Floor() wal.Floor { return wal.Floor{} }

func (c *cursor) Stat() (st wal.CursorStat) {
	c.mu.Lock()
	defer c.mu.Unlock()
	st.Ledger, st.Checkpoint = c.ledger, c.offsetLocked()
	st.Pending.Events = c.to - st.Checkpoint
	return st
}

// Keep keeps no state: no type that takes a replay has one.
func (c *cursor) Keep(func(state []byte)) {}

// Put counts an event that the destination rejects: it was delivered, or is a dead letter already.
func (c *cursor) Put(d deadletter.Letter) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rejected == "" {
		c.rejected = d.Reason
	}
	return nil
}

// offsetLocked returns the offset below which every event of the range has ended. mu is held.
func (c *cursor) offsetLocked() uint64 {
	least := c.to
	for lane := range c.lanes {
		least = min(least, c.lanes[lane].Checkpoint)
	}
	return least
}

// result returns the counts of the events that have ended, and the reason of the first rejected one.
func (c *cursor) result() (offset uint64, ended wal.Ledger, rejected string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offsetLocked(), c.ledger, c.rejected
}
