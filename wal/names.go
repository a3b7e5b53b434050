package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/standpipe/standpipe/wal/internal/disk"
)

// The ends of the names of a log's files.
const (
	segmentSuffix = ".seg"
	// unfinishedSuffix marks a segment that was never part of the log: it holds no event.
	unfinishedSuffix = ".new"
	// corruptSuffix marks a segment that was set aside.
	corruptSuffix = ".corrupt"
	// begunSuffix ends the name of an empty file that has the number of the newest segment that has begun. Open can therefore
	// detect that this segment is missing, even if no other trace of it is left. The number may lag by one: then the segment
	// before the newest is there, with its mark.
	begunSuffix = ".begun"
)

// maxStreamName is the longest name of a stream.
const maxStreamName = 1 << 10

// The buckets of a segment's file.
var (
	bucketMeta   = []byte("meta")
	bucketState  = []byte("state")
	bucketBlocks = []byte("blocks")
	bucketIndex  = []byte("index")
)

// segmentName returns the name of a segment's file.
func segmentName(seq uint64) string { return fmt.Sprintf("%016d%s", seq, segmentSuffix) }

// segmentSeq returns the number that such a name has.
func segmentSeq(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil
}

// listSegments returns the segments' sequence numbers in dir, oldest first.
func listSegments(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var seqs []uint64
	for _, e := range entries {
		if seq, ok := segmentSeq(e.Name()); ok {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs, nil
}

// begunSeq returns the number that such a file's name has.
func begunSeq(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(filepath.Base(name), begunSuffix)
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, ok && err == nil
}

// setAside renames a segment that can't be read, so that it is kept and never read again.
func setAside(path string) (string, error) {
	to := path + corruptSuffix
	for i := 2; ; i++ {
		if _, err := os.Lstat(to); errors.Is(err, os.ErrNotExist) {
			break
		}
		to = fmt.Sprintf("%s%s-%d", path, corruptSuffix, i)
	}
	if err := os.Rename(path, to); err != nil {
		return "", fmt.Errorf("set segment aside: %w", err)
	}
	return to, disk.SyncDir(filepath.Dir(path))
}

// asideSeq returns the number of a segment that was set aside.
func asideSeq(path string) (uint64, bool) {
	name, _, _ := strings.Cut(filepath.Base(path), corruptSuffix)
	return segmentSeq(name)
}

// numberKey returns the key of a numbered entry.
func numberKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }
