package wal_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// On ext4 small commits find disk blocks that are written already, up to 64 KiB ahead of the last page. A large commit writes
// its own pages only. The blocks are counted by the file system.
func TestPrewrite_IsForSmallCommits(t *testing.T) {
	d, err := newDisk(t, t.TempDir(), 64<<20, "mkfs.ext4")
	if err == nil {
		err = d.Attach()
	}
	if err != nil {
		notTested(t, "blocks that are written ahead", err)
		return
	}
	dir := filepath.Join(d.Mount, "data")
	l := open(t, wal.Options{Dir: dir})
	written := func() (blocks int64) {
		t.Helper()
		sync(t, l)
		out, err := exec.Command("filefrag", "-v", "-b4096", segmentFiles(t, dir)[0]).CombinedOutput()
		must(t, err)
		for line := range strings.Lines(string(out)) {
			var n, first, last, start, end, length int64
			if _, err := fmt.Sscanf(line, "%d: %d..%d: %d..%d: %d:", &n, &first, &last, &start, &end, &length); err == nil && !strings.Contains(line, "unwritten") {
				blocks += length
			}
		}
		return blocks
	}
	const small = 1 + 64 + 1 // pages of small commits
	event := string(make([]byte, 5000))
	appendOne(t, l, "s", "k", event)
	if got := written(); got < small+16 || got > small+32 {
		t.Errorf("after an append: %d blocks are written, want %d for small commits, 16 ahead and the pages", got, small)
	}
	before := l.Stat().Written
	appendOne(t, l, "s", "k", string(make([]byte, 1<<20)))
	if got := l.Stat().Written - before; got < 1<<20 || got > 1<<20+40<<10+(small<<12) { // the next segment is made ready
		t.Errorf("a commit of 1 MiB has written %d bytes, want its pages only", got)
	}
	written()
	before = l.Stat().Written
	appendOne(t, l, "s", "k", event)
	if got := l.Stat().Written - before; got < 64<<10 {
		t.Errorf("an append has written %d bytes, want 64 KiB of blocks ahead", got)
	}
	must(t, l.Close())
	wantSound(t, dir)
}
