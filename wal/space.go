package wal

import (
	"math"
	"os"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/liveset"
)

// Everything that can exist at once fits into MaxSize:
//
//	the sealed segments, a copy under way
//	+ the newest segment: its used bytes, and its reserve
//	    checkpointRoom   all cursors, written beside their previous entries
//	    SealRoom         the index, and the flag that the segment is sealed
//	+ the next segment: beginRoom, the whole state, whether it is made ready yet or not
//	+ the dead letters: deadHeld
//
// Appends take the rest, less a margin and the room of a copy. bbolt cannot grow a file beyond its limit, so an
// estimate that is too low rejects an append, and never exceeds MaxSize. The reserve is allocated ahead, and where the
// volume is short the next segment is made early: both work on a volume that is full to the last block.
//
// So the newest segment can always be sealed and the next one begun, which writes the present state. renew does that
// when the log is full and no destination needs the events of the newest segment. Then the old segment is unlinked,
// however short it was, and the log has as many free bytes as an empty log: at least largestAppend, while the state is
// within its limit.

// capacity calculates the free bytes of the log: under MaxSize, and on the volume. Its methods
// acquire the lock of liveset.Set, except those with a parameter of type liveset.Use.
type capacity struct {
	log *Log

	fullSince atomic.Pointer[time.Time] // the last time an append found no room; nil: the log is not full
	dead      atomic.Int64              // bytes that the file of dead letters may occupy
	volume    atomic.Int64              // bytes that the log has and could have on its volume, at the last query
	short     atomic.Bool               // the volume has little more than the log occupies
}

// retryAfter is the pause that a rejected producer should make.
const retryAfter = time.Second

// maxSegments returns the bytes that all segments together may occupy now.
func (c *capacity) maxSegments() int64 { return c.log.opts.MaxSize - c.deadHeld() }

// margin returns the bytes that appends always leave free.
func (c *capacity) margin() int64 { return min(1<<20, c.log.opts.MaxSize/16) }

// plenty returns the number of free bytes at which a full log is no longer full.
func (c *capacity) plenty() int64 { return min(1<<20, c.log.opts.MaxSize/6) }

// step returns the number of bytes by which the newest segment is allocated ahead.
func (c *capacity) step() int64 { return min(max(c.log.opts.SegmentSize/16, 64<<10), 4<<20) }

// copyRoom returns the bytes that are kept free for the copy of a segment: a log that is full of mostly settled
// segments must be able to compact.
func (c *capacity) copyRoom() int64 { return min(c.log.opts.SegmentSize*3/4, c.log.opts.MaxSize/20) }

// largestAppend returns the most bytes that an append may take. It does not depend on the size of the state: even with
// the largest state, that many bytes are free once all events are settled.
func (c *capacity) largestAppend() int64 { return c.log.opts.MaxSize*3/5 - 2*emptySegment }

// emptySegment is the most that a segment occupies before its first event, apart from the state.
var emptySegment = int64(max(64<<10, 12*os.Getpagesize()))

// beginRoom returns the most bytes that the next segment occupies once it has begun.
func (c *capacity) beginRoom() int64 {
	state := c.log.stateBudget.bytes.Load()
	return emptySegment + state + state/16
}

// checkpointRoom returns the most bytes that a checkpoint takes.
func (c *capacity) checkpointRoom() int64 {
	cursors := c.log.stateBudget.cursorBytes.Load()
	return int64(4*os.Getpagesize()) + cursors + cursors/16
}

// reserve returns the number of bytes that stay allocated in the newest segment, beyond its used ones.
func (c *capacity) reserve(s *liveset.Segment) int64 { return c.checkpointRoom() + s.SealRoom() }

// space returns the bytes that appends may take now, by MaxSize and by the volume's free bytes.
func (c *capacity) space() int64 { return min(c.spaceOfMax(), c.spaceOnDisk()) }

func (c *capacity) spaceOfMax() int64 {
	use := c.log.segments.Use()
	used := c.usedByNewest(use)
	free := c.maxSegments() - c.around(use) - c.nextNeeds(use) - used - c.reserve(use.Newest)
	if use.Segments > 1 {
		free -= max(c.copyRoom()-c.log.compactor.copying.Load(), 0)
	}
	if use.Segments > 1 || !use.Newest.Empty() {
		free -= c.margin()
	}
	return min(free, c.longest()-used)
}

// usedByNewest returns the bytes that the newest segment uses, or will use as soon as it begins.
func (c *capacity) usedByNewest(use liveset.Use) int64 {
	used := use.Newest.Used()
	if use.Preallocated {
		used = max(used, c.beginRoom())
	}
	return used
}

// nextNeeds returns the bytes that the next segment will occupy beyond those that it occupies now.
func (c *capacity) nextNeeds(use liveset.Use) int64 { return max(c.beginRoom()-use.Next, 0) }

// longest returns the most bytes of the newest segment while no other can follow it. If it is lost, Open skips as many
// offsets as a segment of SegmentSize and one commit can hold.
func (c *capacity) longest() int64 {
	return c.log.opts.SegmentSize + largestCommit + 2*c.log.stateBudget.bytes.Load()
}

func (c *capacity) spaceOnDisk() int64 {
	free, err := disk.Free(c.log.dir)
	if err != nil {
		return math.MaxInt64
	}
	use := c.log.segments.Use()
	used, allocated := c.usedByNewest(use), use.Newest.Allocated()
	c.volume.Store(free + c.around(use) + max(used, allocated))
	ahead := allocated - used
	if use.Newest.Unallocated() || ahead < 0 {
		ahead = 0
	}
	return ahead + free - c.reserve(use.Newest) - c.nextNeeds(use) - c.margin()
}

// While the volume has plentyOnDisk, its free bytes are queried only once in lookPatience: a query takes a fortieth of
// a commit's time. If others fill the volume meanwhile, allocate fails before the commit writes a byte.
const (
	plentyOnDisk = 1 << 30
	lookPatience = 10 * time.Millisecond
)

// space is capacity.space, with the volume's free bytes of up to lookPatience ago.
func (c *committer) space() int64 {
	room := c.log.capacity.spaceOfMax()
	now := time.Now()
	if now.Before(c.checkDisk) {
		return room
	}
	disk := c.log.capacity.spaceOnDisk()
	if c.log.capacity.short.Store(disk < plentyOnDisk); disk >= plentyOnDisk {
		c.checkDisk = now.Add(lookPatience)
	}
	return min(room, disk)
}

// allocate allocates need bytes beyond the used ones of the newest segment, plus the reserve. It also checks that the
// file can be mapped with them and spare bytes more: bbolt cannot continue after a failed map. So a shortage shows
// before any byte of a commit is written.
func (c *capacity) allocate(s *liveset.Segment, need, spare int64) error {
	have := s.Reserved()
	want := s.Used() + need + c.reserve(s)
	if err := s.EnsureMapped(want + spare); err != nil {
		return err
	}
	if want <= have {
		return nil
	}
	ahead := (want + c.step() - 1) / c.step() * c.step()
	if ahead+c.copyRoom() > c.limit() {
		ahead = want
	}
	err := s.Allocate(ahead)
	if disk.NoSpace(err) && ahead > want {
		err = s.Allocate(want)
	}
	return err
}

// limit returns the most bytes that the newest segment may have.
func (c *capacity) limit() int64 {
	use := c.log.segments.Use()
	return c.maxSegments() - c.around(use) - c.nextNeeds(use)
}

// around returns the bytes that all but the newest segment occupy.
func (c *capacity) around(use liveset.Use) int64 {
	return use.Sealed + use.Next + c.log.compactor.copying.Load()
}

// Full reports whether the log is full: appends wait for free bytes, or the last append was rejected because there were
// too few and that has not changed, or the log was opened with too few free bytes.
func (l *Log) Full() bool { return l.capacity.full() }

func (c *capacity) full() bool {
	since := c.fullSince.Load()
	if since == nil {
		return false
	}
	ago := c.log.opts.Clock().Sub(*since) // less than 0 when the clock has jumped back
	if c.space() < c.plenty() || 0 <= ago && ago < retryAfter {
		return true
	}
	c.fullSince.CompareAndSwap(since, nil)
	return false
}

// noteFull is called whenever an append is rejected or waits because the log is full, and if Open finds no free bytes.
func (c *capacity) noteFull() {
	now := c.log.opts.Clock()
	c.fullSince.Store(&now)
}

// noteRoom is called whenever an append was stored. The log is no longer full once it has plenty of free bytes.
func (c *capacity) noteRoom() {
	if c.fullSince.Load() != nil && c.space() >= c.plenty() {
		c.fullSince.Store(nil)
	}
}

// fullError returns the error of an append that needs more bytes than are free.
func (c *capacity) fullError(need int64) error {
	st := c.log.Stat()
	if c.spaceOfMax() >= need {
		st.MaxBytes = 0 // it is the disk that is full
	}
	return &FullError{Used: st.Bytes, Max: st.MaxBytes, RetryAfter: retryAfter}
}

// spareForCopy returns the bytes that are free beside the copy under way. Below 0 there is no room for the copy.
func (c *capacity) spareForCopy() int64 {
	return min(c.unallocated()-c.margin(), c.spaceOnDisk()-c.log.compactor.copying.Load())
}

// unallocated returns the bytes under MaxSize that are neither in use nor reserved.
func (c *capacity) unallocated() int64 {
	use := c.log.segments.Use()
	newest := max(c.usedByNewest(use)+c.reserve(use.Newest), use.Newest.Allocated())
	return c.maxSegments() - c.around(use) - c.nextNeeds(use) - newest
}

// used returns the bytes that the segments occupy.
func (c *capacity) used(use liveset.Use) int64 {
	return c.around(use) + max(use.Newest.Disk(), use.Newest.Used())
}
