package recovery

import (
	"path/filepath"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// SetAside returns the names, below the data directory dir, of the damaged files that were set aside and are still there:
// segments, which are in folder, and files of dead letters.
func SetAside(dir, folder string) (names []string, err error) {
	dead, err := disk.Files(dir, segment.IsDeadAside)
	if err != nil {
		return nil, err
	}
	segments, err := disk.Files(folder, segment.IsAside)
	if err != nil {
		return nil, err
	}
	for _, path := range append(dead, segments...) {
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}
