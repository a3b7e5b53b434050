package wal

import (
	"path/filepath"
	"strings"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// isAside reports whether name is that of a segment that was set aside.
func isAside(name string) bool { return strings.Contains(name, segment.Suffix+segment.CorruptSuffix) }

// SetAside returns the names, below the data directory, of the damaged files that were set aside and are still there: segments,
// and files of dead letters.
func (l *Log) SetAside() (names []string, err error) {
	dead, err := disk.Files(l.opts.Dir, isDeadAside)
	if err != nil {
		return nil, err
	}
	segments, err := disk.Files(l.dir, isAside)
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
