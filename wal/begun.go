package wal

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// begunSuffix ends the name of an empty file that has the number of the last segment that has begun, so that the newest
// is missed even when nothing else is left of it. It may be one behind: then the newest's predecessor is there, with its mark.
const begunSuffix = ".begun"

// begunSeq returns the number that such a file's name has.
func begunSeq(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(filepath.Base(name), begunSuffix)
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, ok && err == nil
}

// begunFile returns the file and its number; "" and 0: there is none.
func (l *Log) begunFile() (path string, seq uint64) {
	found, _ := filepath.Glob(filepath.Join(l.dir, "*"+begunSuffix)) // the pattern is well formed
	for _, p := range found {
		if n, ok := begunSeq(p); ok && n > seq {
			path, seq = p, n
		}
	}
	return path, seq
}

// noteBegun notes that segment seq has begun. Whoever syncs the folder next makes that last.
func (l *Log) noteBegun(seq uint64) {
	path := filepath.Join(l.dir, fmt.Sprintf("%016d%s", seq, begunSuffix))
	var err error
	if l.begunPath != "" {
		err = os.Rename(l.begunPath, path) // needs neither room nor a descriptor
	} else {
		err = os.WriteFile(path, nil, 0o600)
	}
	if err != nil {
		l.opts.Logger.Warn("the number of the newest segment could not be noted", "segment", seq, "error", err)
		return
	}
	l.begunPath = path
}
