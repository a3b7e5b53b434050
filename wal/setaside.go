package wal

import "github.com/standpipe/standpipe/wal/internal/recovery"

// SetAside returns the names, below the data directory, of the damaged files that were set aside and are still there:
// segments, and files of dead letters.
func (l *Log) SetAside() (names []string, err error) { return recovery.SetAside(l.opts.Dir, l.dir) }
