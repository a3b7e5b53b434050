package wal

import (
	"path/filepath"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// SetAside returns the names, below the data directory, of the damaged files that were set aside and are still there:
// segments, and files of dead letters.
func (l *Log) SetAside() (names []string, err error) {
	dead, err := disk.Files(l.opts.Dir, segment.IsDeadAside)
	if err != nil {
		return nil, err
	}
	segments, err := disk.Files(l.dir, segment.IsAside)
	if err != nil {
		return nil, err
	}
	for _, path := range append(dead, segments...) {
		name, err := filepath.Rel(l.opts.Dir, path)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}
