package wal

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// begunSuffix ends the name of an empty file that has the number of the newest segment that has begun. Open can therefore
// detect that this segment is missing, even if no other trace of it is left. The number may lag by one: then the segment
// before the newest is there, with its mark.
const begunSuffix = ".begun"

// begunSeq returns the number that such a file's name has.
func begunSeq(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(filepath.Base(name), begunSuffix)
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, ok && err == nil
}

// begunFile returns the file in dir and its number; "" and 0: there is none.
func begunFile(dir string) (path string, seq uint64) {
	found, _ := filepath.Glob(filepath.Join(dir, "*"+begunSuffix)) // the pattern is well formed
	for _, p := range found {
		if n, ok := begunSeq(p); ok && n > seq {
			path, seq = p, n
		}
	}
	return path, seq
}

// noteBegun gives the file the number of segment seq, which has begun. The next sync of the folder makes that durable.
func (t *truncator) noteBegun(seq uint64) {
	path := filepath.Join(t.log.dir, fmt.Sprintf("%016d%s", seq, begunSuffix))
	var err error
	if t.begunPath != "" {
		err = os.Rename(t.begunPath, path) // needs neither room nor a descriptor
	} else {
		err = os.WriteFile(path, nil, 0o600)
	}
	if err != nil {
		t.log.opts.Logger.Warn("the number of the newest segment could not be noted", "segment", seq, "error", err)
		return
	}
	t.begunPath = path
}
