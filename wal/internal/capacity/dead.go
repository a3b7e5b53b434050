package capacity

// Dead returns the bytes that the file of the dead letters may occupy.
func (c *Capacity) Dead() int64 { return c.dead.Load() }

// SetDead records the length of the file that existed before the log was opened. Older releases had no limit. Bytes
// beyond the limit are not counted: they would block all appends until letters are dropped.
func (c *Capacity) SetDead(length int64) { c.dead.Store(min(length, c.MaxDead())) }

// deadHeld returns the bytes of MaxSize that are reserved for dead letters, whether they need them yet or not.
func (c *Capacity) deadHeld() int64 { return max(c.dead.Load(), c.deadReserve()) }

// ShrinkDead sets the number of bytes that dead letters may occupy, if that takes none from the segments.
func (c *Capacity) ShrinkDead(bytes int64) bool {
	if bytes > c.deadHeld() {
		return false
	}
	c.dead.Store(bytes)
	return true
}

// GrowDead is ShrinkDead, and takes free bytes from the segments too. If there are too few, it changes nothing and
// returns false. No commit may be under way: it may use the free bytes.
func (c *Capacity) GrowDead(bytes int64) bool {
	if bytes-c.deadHeld() > c.unallocated(c.Segments.Use())-max(c.copyReserve()-c.copying.Load(), 0) {
		return false
	}
	c.dead.Store(bytes)
	c.Retained.fit(0)
	return true
}

// DeadBudget is the budget of the dead letters' file. A letter that does not fit is rejected.
type DeadBudget struct {
	Capacity       *Capacity
	BetweenCommits func(f func() bool) bool // calls f while no commit is under way, and returns its result
}

// Max returns the longest length, in bytes, that the file may have.
func (b DeadBudget) Max() int64 { return b.Capacity.MaxDead() }

// Hold sets the number of bytes that dead letters may occupy. It reports whether there are enough free bytes for
// that; if not, it changes nothing.
func (b DeadBudget) Hold(bytes int64) bool {
	if b.Capacity.ShrinkDead(bytes) {
		return true
	}
	return b.BetweenCommits(func() bool { return b.Capacity.GrowDead(bytes) })
}
