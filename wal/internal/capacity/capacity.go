package capacity

import (
	"math"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/liveset"
)

// Options are the dependencies and settings of a Capacity. All fields must be set.
type Options struct {
	Dir           string // of the segments
	MaxSize       int64  // bytes that all segments and dead letters may occupy, until SetMax
	LeastSize     int64  // the smallest MaxSize
	SegmentSize   int64
	LargestCommit int64 // the most bytes that one commit adds to a segment
	Segments      *liveset.Set
	Logger        hclog.Logger
	Clock         func() time.Time
	Release       func(bytes int64) bool // unlinks retained segments of that many bytes; false: the log closes
	Trim          func()                 // lets the retained segments leave Headroom free, and returns at once
}

// Capacity calculates the free bytes of the log: under MaxSize, and on the volume. Any goroutine may call its methods.
// They acquire the lock of liveset.Set, except those with a parameter of type liveset.Use.
type Capacity struct {
	Options
	limits

	// StateBytes are the bytes of the pages that a newly written state takes, and CursorBytes the destinations' part of
	// them. Their owners count them.
	StateBytes, CursorBytes atomic.Int64

	Carry Carry

	Retained Retained

	copying   atomic.Int64              // the most bytes that the copy under way occupies
	dead      atomic.Int64              // bytes that the file of dead letters may occupy
	volume    atomic.Int64              // bytes that the log has and could have on its volume, at the last query
	short     atomic.Bool               // the volume has little more than the log occupies
	fullSince atomic.Pointer[time.Time] // the last time an append found no free bytes; nil: the log is not full
	rejected  atomic.Pointer[time.Time] // the last time a name was rejected; nil: none is
	checkDisk time.Time                 // when SpaceForCommit queries the volume again
}

// New returns the capacity of a log that has no dead letters and an empty state.
func New(o Options) *Capacity {
	c := &Capacity{Options: o, limits: limits{segmentSize: o.SegmentSize}}
	c.Retained.capacity = c
	c.SetMax(o.MaxSize)
	return c
}

// maxSegments returns the bytes that all segments together may occupy now.
func (c *Capacity) maxSegments() int64 { return c.Max() - c.deadHeld() }

// EmptySegment is the most that a segment occupies before its first event, apart from the state and pages for small commits.
var EmptySegment = int64(max(64<<10, 12*os.Getpagesize()))

// BytesToBegin returns the most bytes that the next segment occupies once it has begun.
func (c *Capacity) BytesToBegin() int64 {
	state := c.StateBytes.Load()
	return EmptySegment + c.smallBytes() + state + state/16
}

// CheckpointBytes returns the most bytes that a checkpoint takes.
func (c *Capacity) CheckpointBytes() int64 {
	cursors := c.CursorBytes.Load()
	return int64(4*os.Getpagesize()) + cursors + cursors/16
}

// Reserve returns the number of bytes that stay allocated in the newest segment, beyond its used ones.
func (c *Capacity) Reserve(s *liveset.Segment) int64 {
	return c.CheckpointBytes() + s.SealBytes() + s.SmallGrowth() + c.Carry.Bytes()
}

// Space returns the bytes that appends may take now, by MaxSize and by the volume's free bytes.
func (c *Capacity) Space() int64 { return min(c.SpaceOfMax(), c.SpaceOnDisk()) }

// SpaceOfMax returns the bytes that appends may take now, by MaxSize.
func (c *Capacity) SpaceOfMax() int64 {
	use := c.Segments.Use()
	used := c.usedByNewest(use)
	free := c.maxSegments() - c.around(use) - c.nextNeeds(use) - used - c.Reserve(use.Newest)
	if use.Segments > 1 {
		free -= max(c.copyReserve()-c.copying.Load(), 0)
	}
	if use.Segments > 1 || !use.Newest.Empty() {
		free -= c.margin()
	}
	return min(free, c.longest()-used)
}

// usedByNewest returns the bytes that the newest segment uses, or will use as soon as it begins.
func (c *Capacity) usedByNewest(use liveset.Use) int64 {
	used := use.Newest.Used()
	if use.Preallocated {
		used = max(used, c.BytesToBegin())
	}
	return used
}

// nextNeeds returns the bytes that the next segment will occupy beyond those that it occupies now.
func (c *Capacity) nextNeeds(use liveset.Use) int64 { return max(c.BytesToBegin()-use.Next, 0) }

// longest returns the most bytes of the newest segment while no other can follow it. If it is lost, Open skips as many
// offsets as a segment of SegmentSize and one commit can hold.
func (c *Capacity) longest() int64 {
	return c.SegmentSize + c.LargestCommit + 2*c.StateBytes.Load()
}

// SpaceOnDisk returns the bytes that appends may take now, by the volume's free bytes.
func (c *Capacity) SpaceOnDisk() int64 {
	use := c.Segments.Use() // before the volume: a segment that is unlinked meanwhile may count twice, and never less than once
	free, err := disk.Free(c.Dir)
	if err != nil {
		return math.MaxInt64
	}
	free += use.Retained
	used, allocated := c.usedByNewest(use), use.Newest.Allocated()
	c.volume.Store(free + c.around(use) + max(used, allocated))
	ahead := allocated - used
	if use.Newest.Unallocated() || ahead < 0 {
		ahead = 0
	}
	return ahead + free - c.Reserve(use.Newest) - c.nextNeeds(use) - c.margin()
}

// While the volume has plentyOnDisk, its free bytes are queried only once in lookPatience: a query takes a fortieth of
// a commit's time. If others fill the volume meanwhile, Allocate fails before the commit writes a byte.
const (
	plentyOnDisk = 1 << 30
	lookPatience = 10 * time.Millisecond
)

// SpaceForCommit is Space, with the volume's free bytes of up to lookPatience ago. The leader of the commits alone calls it.
func (c *Capacity) SpaceForCommit() int64 {
	free := c.SpaceOfMax()
	now := time.Now()
	if now.Before(c.checkDisk) {
		return free
	}
	onDisk := c.SpaceOnDisk()
	if c.short.Store(onDisk < plentyOnDisk); onDisk >= plentyOnDisk {
		c.checkDisk = now.Add(lookPatience)
	}
	return min(free, onDisk)
}

// Allocate allocates need bytes beyond the used ones of the newest segment, plus the reserve. It also checks that the
// file can be mapped with them and spare bytes more: bbolt cannot continue after a failed map. So a shortage shows
// before any byte of a commit is written.
func (c *Capacity) Allocate(s *liveset.Segment, need, spare int64) error {
	have := s.Reserved()
	want := s.Used() + need + c.Reserve(s)
	if err := s.EnsureMapped(want + spare); err != nil {
		return err
	}
	if want <= have {
		return nil
	}
	ahead := (want + c.step() - 1) / c.step() * c.step()
	if ahead+c.copyReserve() > c.Limit() {
		ahead = want
	}
	c.Retained.fit(ahead - have)
	err := c.Retained.WithSpace(ahead-have, func() error { return s.Allocate(ahead) })
	if disk.NoSpace(err) && ahead > want {
		err = s.Allocate(want)
	}
	return err
}

// Limit returns the most bytes that the newest segment may have.
func (c *Capacity) Limit() int64 {
	use := c.Segments.Use()
	return c.maxSegments() - c.around(use) - c.nextNeeds(use)
}

// around returns the bytes that all but the newest segment occupy.
func (c *Capacity) around(use liveset.Use) int64 {
	return use.Sealed + use.Next + c.copying.Load()
}

// HoldCopy reserves the bytes of a copy of a segment until EndCopy: appends leave them free. It returns false, and
// reserves nothing, if there are too few free bytes.
func (c *Capacity) HoldCopy(bytes int64) bool {
	c.copying.Store(bytes)
	if bytes > c.copyReserve() && min(c.unallocated(c.Segments.Use())-c.margin(), c.SpaceOnDisk()-c.copying.Load()) < 0 {
		c.copying.Store(0)
		return false
	}
	c.Retained.fit(0)
	return true
}

// EndCopy ends HoldCopy.
func (c *Capacity) EndCopy() { c.copying.Store(0) }

// unallocated returns the bytes under MaxSize that are neither in use nor reserved.
func (c *Capacity) unallocated(use liveset.Use) int64 {
	newest := max(c.usedByNewest(use)+c.Reserve(use.Newest), use.Newest.Allocated())
	return c.maxSegments() - c.around(use) - c.nextNeeds(use) - newest
}

// Used returns the bytes that the segments occupy.
func (c *Capacity) Used(use liveset.Use) int64 {
	return c.around(use) + max(use.Newest.Disk(), use.Newest.Used())
}

// FullSegment returns the length at which a segment is sealed: SegmentSize, or less: at most a quarter of Max and, on a short
// volume, of the bytes that the log has and could have there. It is longer if the state is large.
func (c *Capacity) FullSegment() int64 {
	size := min(c.SegmentSize, c.Max()/4)
	if c.short.Load() {
		size = min(size, max(c.volume.Load(), c.LeastSize)/4)
	}
	return max(size, size/2+2*c.StateBytes.Load()) // so that a large state is written no more often than events
}

// Short reports whether the volume has little more than the log occupies, at the last query.
func (c *Capacity) Short() bool { return c.short.Load() }
