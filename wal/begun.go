package wal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// begunFile returns the file in dir whose name has the number of the newest segment that has begun, and that number; ""
// and 0: there is none.
func begunFile(dir string) (path string, seq uint64) {
	found, _ := disk.Files(dir, func(name string) bool { return strings.HasSuffix(name, segment.BegunSuffix) }) // of a directory that was listed before
	for _, p := range found {
		if n, ok := segment.BegunSeqOf(p); ok && n > seq {
			path, seq = p, n
		}
	}
	return path, seq
}

// noteBegun puts seq, the number of a segment that has begun, into the name of the file that begunFile finds, or
// creates the file. The next sync of the folder makes that durable.
func (t *truncator) noteBegun(seq uint64) {
	path := filepath.Join(t.log.dir, fmt.Sprintf("%016d%s", seq, segment.BegunSuffix))
	var err error
	if t.begunPath != "" {
		err = os.Rename(t.begunPath, path) // needs neither free space nor a descriptor
	} else {
		err = os.WriteFile(path, nil, 0o600)
	}
	if err != nil {
		t.log.opts.Logger.Warn("the number of the newest segment could not be noted", "segment", seq, "error", err)
		return
	}
	t.begunPath = path
}
