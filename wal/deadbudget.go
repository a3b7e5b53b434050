package wal

import (
	"path/filepath"

	"github.com/standpipe/standpipe/wal/deadletter"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// OpenDeadLetters returns the dead letters of the log's directory. Their file occupies up to an eighth of MaxSize, which
// is not available to the segments then. The result may be used after the log is closed. onAside may be nil: see
// deadletter.Options.
func (l *Log) OpenDeadLetters(onAside func(path string, reason error)) *deadletter.Queue {
	return deadletter.Open(l.opts.Dir, deadletter.Options{Budget: deadBudget{&l.capacity}, Logger: l.opts.Logger, OnAside: onAside})
}

// deadBudget is the budget of the dead letters' file. The bytes that the file occupies are subtracted from the limit of
// the segments. Appends never use its first deadRoom bytes: a full log whose destination rejects its events has no other
// way to move on. Beyond deadRoom the file grows into free bytes of the log. A letter that does not fit is rejected.
type deadBudget struct{ *capacity }

// Max returns the longest length, in bytes, that the file may have.
func (c deadBudget) Max() int64 { return c.maxDead() }

// Hold sets the number of bytes that dead letters may occupy. It reports whether there are enough free bytes for
// that; if not, it changes nothing.
func (c deadBudget) Hold(bytes int64) bool {
	if bytes <= c.deadHeld() {
		c.dead.Store(bytes)
		return true
	}
	select {
	case c.log.committer.leader <- struct{}{}: // the commit under way may use the free bytes
		defer func() { <-c.log.committer.leader }()
	case <-c.log.committer.done:
	}
	if bytes-c.deadHeld() > c.unallocated()-max(c.copyRoom()-c.log.compactor.copying.Load(), 0) {
		return false
	}
	c.dead.Store(bytes)
	return true
}

// maxDead returns the longest length, in bytes, of the dead letters' file.
func (c *capacity) maxDead() int64 { return c.log.opts.MaxSize / 8 }

// deadRoom returns the bytes that appends leave free for dead letters.
func (c *capacity) deadRoom() int64 { return min(c.log.opts.MaxSize/16, 4<<20) }

// deadHeld returns the bytes of MaxSize that are reserved for dead letters, whether they need them yet or not.
func (c *capacity) deadHeld() int64 { return max(c.dead.Load(), c.deadRoom()) }

// countDead counts the file that existed before the log was opened. Older releases had no limit. Bytes beyond the limit
// are not counted: they would block all appends until letters are dropped.
func (c *capacity) countDead() error {
	length, err := deadletter.Recover(c.log.opts.Dir)
	if err != nil {
		return err
	}
	if length > c.maxDead() {
		c.log.opts.Logger.Warn("dead letters over their limit; drop or requeue some, or raise max_size",
			"file", filepath.Join(c.log.opts.Dir, segment.DeadName), "dead_bytes", length, "max_dead_bytes", c.maxDead())
	}
	c.dead.Store(min(length, c.maxDead()))
	return nil
}
