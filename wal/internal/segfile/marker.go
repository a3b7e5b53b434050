package segfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Marker is an empty file whose name has the number of the newest segment that has begun. So Open detects that this
// segment is missing, even if no other trace of it is left. The number may lag by one: then the segment before the newest
// is present, and is marked as sealed. One goroutine at a time uses a Marker.
type Marker struct {
	dir, path string
}

// FindMarker returns the marker of the folder, and its number; 0: there is none.
func FindMarker(dir string) (m Marker, seq uint64) {
	m.dir = dir
	found, _ := disk.Files(dir, func(name string) bool { return strings.HasSuffix(name, segment.MarkerSuffix) }) // of a directory that was listed before
	for _, p := range found {
		if n, ok := segment.MarkerSeqOf(p); ok && n > seq {
			m.path, seq = p, n
		}
	}
	return m, seq
}

// Set gives the marker the number of a segment that has begun, or creates the file. The next sync of the folder makes
// that durable.
func (m *Marker) Set(seq uint64) error {
	path := filepath.Join(m.dir, fmt.Sprintf("%016d%s", seq, segment.MarkerSuffix))
	var err error
	if m.path != "" {
		err = os.Rename(m.path, path) // needs neither free space nor a descriptor
	} else {
		err = os.WriteFile(path, nil, 0o600)
	}
	if err != nil {
		return err
	}
	m.path = path
	return nil
}
