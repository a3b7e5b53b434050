package capacity

import (
	"os"
	"sync/atomic"

	"github.com/standpipe/standpipe/wal/internal/small"
)

// limits are the sizes that follow from the configuration alone.
type limits struct {
	maxSize     atomic.Int64 // see Max
	segmentSize int64
}

// Max returns the bytes that all segments and dead letters may occupy.
func (l *limits) Max() int64 { return l.maxSize.Load() }

// SetMax changes Max. While more bytes are in use there are no free ones, and checkpoints and seals go on.
func (l *limits) SetMax(size int64) { l.maxSize.Store(size) }

// margin returns the bytes that appends always leave free.
func (l *limits) margin() int64 { return min(1<<20, l.Max()/16) }

// Plenty returns the number of free bytes at which a full log is no longer full.
func (l *limits) Plenty() int64 { return min(1<<20, l.Max()/6) }

// step returns the number of bytes by which the newest segment is allocated ahead.
func (l *limits) step() int64 { return min(max(l.segmentSize/16, 64<<10), 4<<20) }

// copyReserve returns the bytes that are kept free for the copy of a segment: a log that is full of mostly settled
// segments must be able to compact.
func (l *limits) copyReserve() int64 { return min(l.segmentSize*3/4, l.Max()/20) }

// LargestAppend returns the most bytes that an append may take. It does not depend on the size of the state: even with
// the largest state, that many bytes are free once all events are settled.
func (l *limits) LargestAppend() int64 { return l.Max()*3/5 - 2*EmptySegment }

// SmallPages returns the number of pages that the next segment has for small commits.
func (l *limits) SmallPages() int {
	return small.Pages(min(l.segmentSize, l.Max()/4), os.Getpagesize())
}

// smallBytes returns the bytes that these take.
func (l *limits) smallBytes() int64 { return small.Bytes(l.SmallPages(), os.Getpagesize()) }

// Growth estimates the most bytes by which blocks of that total size make a segment grow.
func (l *limits) Growth(size int64) int64 {
	return size + size/16 + min(16<<10, l.segmentSize/16)
}

// MaxDead returns the longest length, in bytes, of the dead letters' file.
func (l *limits) MaxDead() int64 { return l.Max() / 8 }

// deadReserve returns the bytes that appends leave free for dead letters: a full log whose destination rejects its events
// has no other way to move on. Beyond them the file grows into free bytes of the log.
func (l *limits) deadReserve() int64 { return min(l.Max()/16, 4<<20) }
