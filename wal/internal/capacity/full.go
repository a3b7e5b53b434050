package capacity

import "time"

// RetryAfter is the pause that a rejected producer should make.
const RetryAfter = time.Second

// Full reports whether the log is full: appends wait for free bytes, or the last append was rejected because there were
// too few and that has not changed, or the log was opened with too few free bytes.
func (c *Capacity) Full() bool {
	since := c.fullSince.Load()
	if since == nil {
		return false
	}
	ago := c.Clock().Sub(*since) // less than 0 when the clock has jumped back
	if c.Space() < c.Plenty() || 0 <= ago && ago < RetryAfter {
		return true
	}
	c.fullSince.CompareAndSwap(since, nil)
	return false
}

// Shortage is the limit that keeps a log from accepting events.
type Shortage string

// The shortages.
const (
	NoShortage Shortage = ""
	FullWAL    Shortage = "wal_full"  // MaxSize is in use
	FullDisk   Shortage = "disk_full" // MaxSize is not in use, and the file system has no free bytes
)

// Shortage returns the reason if Full returns true, else NoShortage.
func (c *Capacity) Shortage() Shortage {
	switch {
	case !c.Full():
		return NoShortage
	case c.SpaceOnDisk() < c.SpaceOfMax():
		return FullDisk
	default:
		return FullWAL
	}
}

// NoteFull is called whenever an append is rejected or waits because the log is full, and if Open finds too few free bytes.
func (c *Capacity) NoteFull() {
	now := c.Clock()
	c.fullSince.Store(&now)
}

// NoteStored is called whenever an append was stored. The log is no longer full once it has Plenty of free bytes.
func (c *Capacity) NoteStored() {
	if c.fullSince.Load() != nil && c.Space() >= c.Plenty() {
		c.fullSince.Store(nil)
	}
}

// NotedFull reports whether the log was full at the last note. It is cheaper than Full.
func (c *Capacity) NotedFull() bool { return c.fullSince.Load() != nil }

// DiskIsFull reports whether the volume, and not MaxSize, leaves too few free bytes for an append of need bytes.
func (c *Capacity) DiskIsFull(need int64) bool { return c.SpaceOfMax() >= need }
