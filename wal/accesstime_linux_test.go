package wal_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// A commit does not change the time of the last access to the segment: a file system without a journal would write the inode with each
// sync.
func TestCommit_KeepsTheAccessTime(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir})
	appendOne(t, l, "s", "k", "x")
	stat := func() (accessed, written time.Time) {
		t.Helper()
		var st syscall.Stat_t
		must(t, syscall.Stat(segmentFiles(t, dir)[0], &st))
		return time.Unix(st.Atim.Unix()), time.Unix(st.Mtim.Unix())
	}
	before, _ := stat()
	for {
		appendOne(t, l, "s", "k", "x")
		after, written := stat()
		if !after.Equal(before) {
			t.Fatalf("accessed at %v and again at %v", before, after)
		}
		if written.Sub(before) > 100*time.Millisecond {
			return
		}
	}
}
