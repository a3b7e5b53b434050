package ingestkit

import (
	"maps"
	"sync"
	"time"
)

// Counts is an ingest.Observer.
type Counts struct {
	mu       sync.Mutex
	appended int
	refused  map[string]int // by stream and reason

	connected, turnedAway int
}

// Appended counts a request.
func (c *Counts) Appended(string, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.appended++
}

// Refused counts rejected events by stream and reason.
func (c *Counts) Refused(stream, reason string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil {
		c.refused = map[string]int{}
	}
	c.refused[stream+"/"+reason] += n
}

// Connected counts open connections.
func (c *Counts) Connected(_ string, change int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connected += change
}

// TurnedAway counts a rejected connection.
func (c *Counts) TurnedAway(string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turnedAway++
}

// Connections returns the number of open connections and of rejected ones.
func (c *Counts) Connections() (open, turnedAway int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected, c.turnedAway
}

// Lost counts lost events as rejected for the reason "lost".
func (c *Counts) Lost(stream string, n int) { c.Refused(stream, "lost", n) }

// Get returns the number of requests, and of rejected events by "stream/reason".
func (c *Counts) Get() (int, map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.appended, maps.Clone(c.refused)
}
