package wal

import (
	"path/filepath"

	"github.com/standpipe/standpipe/wal/deadletter"
	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// OpenDeadLetters returns the dead letters of the log's directory. Their file occupies up to an eighth of MaxSize, which
// is not available to the segments then. The result may be used after the log is closed. onAside may be nil: see
// deadletter.Options.
func (l *Log) OpenDeadLetters(onAside func(path string, reason error)) *deadletter.Queue {
	budget := capacity.DeadBudget{Capacity: l.capacity, BetweenCommits: l.committer.Exclude}
	return deadletter.Open(l.opts.Dir, deadletter.Options{Budget: budget, Logger: l.opts.Logger, OnAside: onAside})
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
