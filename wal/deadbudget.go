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
	return deadletter.Open(l.opts.Dir, deadletter.Options{Budget: deadBudget{l}, Logger: l.opts.Logger, OnAside: onAside})
}

// deadBudget is the budget of the dead letters' file. A letter that does not fit is rejected.
type deadBudget struct{ log *Log }

// Max returns the longest length, in bytes, that the file may have.
func (b deadBudget) Max() int64 { return b.log.capacity.MaxDead() }

// Hold sets the number of bytes that dead letters may occupy. It reports whether there are enough free bytes for
// that; if not, it changes nothing.
func (b deadBudget) Hold(bytes int64) bool {
	if b.log.capacity.ShrinkDead(bytes) {
		return true
	}
	return b.log.committer.Exclude(func() bool { return b.log.capacity.GrowDead(bytes) }) // a commit may use the free bytes
}

// countDead counts the file that existed before the log was opened.
func (l *Log) countDead() error {
	length, err := deadletter.Recover(l.opts.Dir)
	if err != nil {
		return err
	}
	if most := l.capacity.MaxDead(); length > most {
		l.opts.Logger.Warn("dead letters over their limit; drop or requeue some, or raise max_size",
			"file", filepath.Join(l.opts.Dir, segment.DeadName), "dead_bytes", length, "max_dead_bytes", most)
	}
	l.capacity.SetDead(length)
	return nil
}
