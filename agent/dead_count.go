package agent

import (
	"context"
	"sync"
	"time"

	"github.com/standpipe/standpipe/wal/deadletter"
)

// deadCountInterval is the time between two looks for new dead letters.
const deadCountInterval = 2 * time.Second

// deadCount counts the stored dead letters of each destination. It reads each letter once, and all of them again after some
// were dropped.
type deadCount struct {
	list func(context.Context, deadletter.Query) ([]deadletter.Stat, error)

	mu      sync.Mutex // guards the fields below
	kept    map[cursorKey]uint64
	last    uint64 // the ID of the last letter that was counted
	dropped bool   // letters were dropped: kept is out of date
}

// run counts until ctx ends.
func (c *deadCount) run(ctx context.Context) {
	tick := time.NewTicker(deadCountInterval)
	defer tick.Stop()
	for {
		c.update(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// update counts the letters that were stored since the last update. If the letters cannot be read, the counts stay, and the
// next update continues.
func (c *deadCount) update(ctx context.Context) {
	c.mu.Lock()
	if c.dropped {
		c.kept, c.last, c.dropped = nil, 0, false
	}
	after := c.last
	c.mu.Unlock()
	for {
		letters, err := c.list(ctx, deadletter.Query{After: after})
		if err != nil || len(letters) == 0 {
			return
		}
		after = letters[len(letters)-1].ID
		c.mu.Lock()
		if c.dropped { // the next update begins anew
			c.mu.Unlock()
			return
		}
		if c.kept == nil {
			c.kept = make(map[cursorKey]uint64)
		}
		for _, l := range letters {
			if l.Damage == nil {
				c.kept[cursorKey{l.Stream, l.Destination}]++
			}
		}
		c.last = after
		c.mu.Unlock()
	}
}

// recount makes the next update count all letters again, because some were dropped or set aside.
func (c *deadCount) recount() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped = true
}

// of returns the number of stored letters of a destination, as of the last update.
func (c *deadCount) of(stream, destination string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept[cursorKey{stream, destination}]
}
