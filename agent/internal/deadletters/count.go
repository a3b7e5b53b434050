package deadletters

import (
	"context"
	"sync"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// countInterval is the time between two looks for new dead letters.
const countInterval = 2 * time.Second

// List is deadletter.Queue.List.
type List func(context.Context, deadletter.Query) ([]deadletter.Stat, error)

// Count counts the stored dead letters of each destination. It reads each letter once, and all of them again after some
// were dropped. The zero Count is ready.
type Count struct {
	mu      sync.Mutex // guards the fields below
	kept    map[admin.Place]uint64
	last    uint64 // the ID of the last letter that was counted
	dropped bool   // letters were dropped: kept is out of date
}

// Run counts the letters of list until ctx ends. One goroutine calls it.
func (c *Count) Run(ctx context.Context, list List) {
	tick := time.NewTicker(countInterval)
	defer tick.Stop()
	for {
		c.update(ctx, list)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// update counts the letters that were stored since the last update. If the letters cannot be read, the counts stay, and the
// next update continues.
func (c *Count) update(ctx context.Context, list List) {
	c.mu.Lock()
	if c.dropped {
		c.kept, c.last, c.dropped = nil, 0, false
	}
	after := c.last
	c.mu.Unlock()
	for {
		letters, err := list(ctx, deadletter.Query{After: after})
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
			c.kept = make(map[admin.Place]uint64)
		}
		for _, l := range letters {
			if l.Damage == nil {
				c.kept[admin.Place{Stream: l.Stream, Destination: l.Destination}]++
			}
		}
		c.last = after
		c.mu.Unlock()
	}
}

// Recount makes the next update count all letters again, because some were dropped or set aside.
func (c *Count) Recount() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped = true
}

// Of returns the number of stored letters of a destination, as of the last update.
func (c *Count) Of(stream, destination string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept[admin.Place{Stream: stream, Destination: destination}]
}
