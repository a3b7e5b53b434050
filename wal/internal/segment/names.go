package segment

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

// The suffixes of the names of a log's files.
const (
	Suffix = ".seg"
	// UnfinishedSuffix marks a segment that was never part of the log: it holds no event.
	UnfinishedSuffix = ".new"
	// CorruptSuffix marks a segment that was set aside.
	CorruptSuffix = ".corrupt"
	// MarkerSuffix ends the name of an empty file whose number is that of the newest segment that has begun. So Open
	// can detect that this segment is missing, even if no other trace of it is left. The number may lag by one: then
	// the segment before the newest is present, and is marked as sealed.
	MarkerSuffix = ".begun"
)

// DeadName is the name of the file of dead letters, beside the folder of the segments.
const DeadName = "dead.db"

// MaxStreamName is the longest name of a stream.
const MaxStreamName = 1 << 10

// The buckets of a segment's file.
var (
	BucketMeta   = []byte("meta")
	BucketState  = []byte("state")
	BucketBlocks = []byte("blocks")
	BucketIndex  = []byte("index")
)

// FileName returns the name of a segment's file.
func FileName(seq uint64) string { return fmt.Sprintf("%016d%s", seq, Suffix) }

// SeqOf returns the number in the name of a segment's file.
func SeqOf(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, Suffix)
	if !ok {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil
}

// ListSegments returns the segments' sequence numbers in dir, oldest first.
func ListSegments(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var seqs []uint64
	for _, e := range entries {
		if seq, ok := SeqOf(e.Name()); ok {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs, nil
}

// MarkerSeqOf returns the number in the name of a file with MarkerSuffix.
func MarkerSeqOf(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(filepath.Base(name), MarkerSuffix)
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, ok && err == nil
}

// SetAside renames a segment or a file of dead letters that cannot be read. The file is kept, and the log does not read
// it again.
func SetAside(path string) (string, error) {
	to := path + CorruptSuffix
	for i := 2; ; i++ {
		if _, err := os.Lstat(to); errors.Is(err, os.ErrNotExist) {
			break
		}
		to = fmt.Sprintf("%s%s-%d", path, CorruptSuffix, i)
	}
	if err := os.Rename(path, to); err != nil {
		return "", fmt.Errorf("set segment aside: %w", err)
	}
	return to, disk.SyncDir(filepath.Dir(path))
}

// AsideSeqOf returns the number of a segment that was set aside.
func AsideSeqOf(path string) (uint64, bool) {
	name, _, _ := strings.Cut(filepath.Base(path), CorruptSuffix)
	return SeqOf(name)
}

// NumberKey returns the key of an entry with a number.
func NumberKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

// IsAside reports whether name is that of a segment that was set aside.
func IsAside(name string) bool { return strings.Contains(name, Suffix+CorruptSuffix) }

// IsDeadAside reports whether name is that of a file of dead letters that was set aside.
func IsDeadAside(name string) bool { return strings.HasPrefix(name, DeadName+CorruptSuffix) }
