package segfile

import "github.com/standpipe/standpipe/wal/internal/disk"

const (
	// smallCommit is the largest size of the blocks in a commit that Prewrite writes ahead for. With larger ones, it would write each
	// byte twice. Such a commit makes the file grow by at most its blocks and smallPages.
	smallCommit, smallPages = 8 << 10, 32 << 10
	// prewriteAhead is the number of bytes that Prewrite writes at a time.
	prewriteAhead = 64 << 10
)

var zeros [prewriteAhead]byte

// Prewrite writes zeros to allocated disk blocks beyond the last page, before a commit of so many bytes of blocks. The first write to an
// allocated block makes a file system with a journal write its metadata with the next sync, which is about as much as a small commit.
// So Prewrite writes many of these blocks at once, long before a page needs them.
//
// The zeros are beyond all pages of the last transaction and of the one before it, so a crash loses nothing. An error is ignored, since
// the commit detects a disk that cannot be written. Prewrite does nothing on file systems that write a changed block to another place.
func (a *allocation) Prewrite(blocks int64) {
	used := a.used.Load()
	from := max(a.prewritten, used)
	if !a.inPlace || a.unallocated.Load() || blocks > smallCommit || used+blocks+smallPages <= from {
		return
	}
	to := min(from+prewriteAhead, a.allocated.Load())
	if to <= from {
		return
	}
	if n, err := a.file.WriteAt(zeros[:to-from], from); err == nil {
		a.prewritten = to
		a.zeros += int64(n)
	}
}

// place finds out whether Prewrite is of use for the file.
func (a *allocation) place() {
	a.prewritten, a.inPlace = 0, disk.OverwritesInPlace(a.file)
}
