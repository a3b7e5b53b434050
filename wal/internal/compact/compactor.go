package compact

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Destinations has the progress of the destinations of all streams.
type Destinations interface {
	// Settled returns about how many bytes all destinations have settled so far, and how many are live: needed by at least
	// one destination. Weight has the bytes of an event.
	Settled() (settled, live uint64)
	// Needs returns the events of the stream that some destination would need after a crash.
	Needs(stream string) *Needs
	// Destinations returns the number of the stream's destinations.
	Destinations(stream string) int
}

// Options are the dependencies and settings of a Compactor. All fields but AtOnce must be set.
type Options struct {
	Segments     *liveset.Set
	Capacity     *capacity.Capacity
	Destinations Destinations
	SegmentSize  int64
	Files        *segfile.Files
	Logger       hclog.Logger
	AtOnce       bool                            // compact also segments that may drain by themselves, and do not wait between two searches
	Spares       func(seg *liveset.Segment) bool // the segment is not to be compacted now
	Usable       func() bool                     // reports whether the log is neither closed nor failed
	Closing      <-chan struct{}                 // closed when the log closes
	SyncFolder   func() error                    // syncs the folder of the segments
	Step         func(name string)               // called when a compaction has finished a step: copied, shrunk
}

// Compactor replaces sealed segments by copies without the events that every destination has settled. A destination, or
// one of its lanes, may be stuck for days. The log keeps the events that this destination needs, but not the other
// events that were appended beside them. While the sealed segments occupy much more bytes than their live events, the
// Compactor copies the live events of the segment with the smallest live share. The copy replaces the segment's file
// under the same name. One segment is compacted at a time, beside the committer.
type Compactor struct {
	o Options

	running  atomic.Bool    // a compaction runs
	workers  sync.WaitGroup // the goroutine that compacts
	lastLook time.Time      // the last search for a segment to compact; owned by the goroutine that has set running

	notes map[*liveset.Segment]*note // of the sealed segments; owned as lastLook is
}

// note has the Compactor's observations of a segment.
type note struct {
	settledThen uint64  // of Destinations.Settled at the last compaction or attempt, plus 1; 0: none yet
	liveShare   float64 // the live share at the last look; 0: none yet
	failed      bool    // a compaction failed; no other is tried
}

const (
	// overSixteenths: segments are compacted while the sealed ones occupy more than this many sixteenths of the live
	// bytes, plus half a segment.
	overSixteenths = 18
	// mostLiveQuarters: a segment is compacted only if at most this many quarters of it are live. Each written byte then
	// frees at least a third of a byte.
	mostLiveQuarters = 3
	// leastFreed: a segment is compacted only if it shrinks by at least this many bytes.
	leastFreed = 32 << 10
	// searchEvery is the interval between searches. A segment is compacted after the second search that finds it: most
	// segments drain by themselves.
	searchEvery = 5 * time.Second
	// eventWeight is the number of bytes that an event counts as in addition to its payload; see Weight.
	eventWeight = 32
	// pauseFactor: after each chunk the compactor pauses for this many times as long as the chunk took.
	pauseFactor = 3
)

// Weight returns about the bytes that events take in a segment.
func Weight(c segment.Count) uint64 { return c.Bytes + eventWeight*c.Events }

// NewCompactor returns a Compactor that does nothing before Start.
func NewCompactor(o Options) *Compactor { return &Compactor{o: o} }

// Running reports whether a compaction is under way.
func (c *Compactor) Running() bool { return c.running.Load() }

// Wait returns when the compaction that is under way has ended.
func (c *Compactor) Wait() { c.workers.Wait() }

// Start compacts the segments that are worth a compaction, beside the caller. It does nothing while a compaction is under
// way, and for five seconds after a search unless the log is full.
func (c *Compactor) Start() {
	if !c.running.CompareAndSwap(false, true) {
		return
	}
	now, urgent := time.Now(), c.o.AtOnce || c.o.Capacity.Full()
	if !urgent && now.Sub(c.lastLook) < searchEvery {
		c.running.Store(false)
		return
	}
	c.lastLook = now
	c.workers.Go(func() {
		defer c.running.Store(false)
		settled, over := c.overThreshold()
		for _, seg := range c.bySettledShare(settled, urgent) {
			if !over || !c.o.Usable() {
				return
			}
			c.compactOne(seg, settled)
			settled, over = c.overThreshold()
		}
	})
}

func (c *Compactor) compactOne(seg *liveset.Segment, settled uint64) {
	before := seg.Disk()
	note := c.notes[seg]
	note.settledThen = settled + 1
	switch err := c.compact(seg); {
	case err == nil:
		c.o.Logger.Debug("segment compacted", "segment", seg.Path, "before", before, "bytes", seg.Disk())
	case !errors.Is(err, ErrKept) && !errors.Is(err, segfile.ErrGone) && !disk.Shortage(err) && !segment.Unread(err):
		note.failed = true
		c.o.Logger.Warn("segment not compacted", "segment", seg.Path, "error", err)
	}
}

// overThreshold reports whether the sealed segments occupy much more bytes than their live events. settled is the
// number of bytes that all destinations have settled so far.
func (c *Compactor) overThreshold() (settled uint64, over bool) {
	settled, live := c.o.Destinations.Settled()
	return settled, float64(c.o.Segments.Use().Sealed) > float64(live)*overSixteenths/16+float64(c.o.SegmentSize)/2
}

// bySettledShare returns the segments that may be worth a compaction, the smallest live share first. A segment that was
// measured before waits until destinations have settled half as many bytes as it occupies. A segment whose live share
// falls drains by itself, and is left out unless the compaction is urgent.
func (c *Compactor) bySettledShare(settled uint64, urgent bool) (found []*liveset.Segment) {
	all := make(map[string]*Needs)
	for _, seg := range c.candidates(settled) {
		share, note := c.liveShare(seg.Spans, all), c.notes[seg.Segment]
		drains := note.liveShare == 0 || share < note.liveShare-0.02
		if note.liveShare = share; urgent || !drains {
			found = append(found, seg.Segment)
		}
	}
	slices.SortStableFunc(found, func(a, b *liveset.Segment) int { return cmp.Compare(c.notes[a].liveShare, c.notes[b].liveShare) })
	return found
}

// candidates returns the segments that may be compacted.
func (c *Compactor) candidates(settled uint64) (found []liveset.Sealed) {
	notes := make(map[*liveset.Segment]*note)
	for _, s := range c.o.Segments.Sealed() {
		n := c.notes[s.Segment]
		if n == nil {
			n = new(note)
		}
		notes[s.Segment] = n
		waits := n.settledThen > 0 && settled < n.settledThen+uint64(s.Size)/2
		if !n.failed && !waits && !s.Damaged && !c.o.Spares(s.Segment) && s.Index() == nil && s.Size >= 2*leastFreed {
			found = append(found, s)
		}
	}
	c.notes = notes
	return found
}

// liveShare estimates the live part of a segment, from 0 to 1.
func (c *Compactor) liveShare(spans map[string]segment.Span, all map[string]*Needs) float64 {
	share, bytes := 0.0, 0.0
	for name, sp := range spans {
		n := all[name]
		if n == nil {
			n = c.o.Destinations.Needs(name)
			all[name] = n
		}
		w := float64(Weight(sp.Count()))
		bytes += w
		share += n.Share(sp) * w
	}
	return share / bytes
}

// compact replaces the segment's file by a copy of its live events, if that frees enough bytes.
func (c *Compactor) compact(seg *liveset.Segment) error {
	copier := Copier{Segment: seg.File, Needs: c.needsNow(seg), Pause: c.pause}
	events, err := copier.Measure()
	if err != nil {
		return err
	}
	size := events + 2*c.o.Capacity.StateBytes.Load() + capacity.EmptySegment
	if before := c.o.Segments.Size(seg); size > before*mostLiveQuarters/4 || before-size < leastFreed {
		return ErrKept
	}
	if !c.o.Capacity.HoldCopy(size) {
		return ErrKept
	}
	defer c.o.Capacity.EndCopy()
	path := seg.Path + segment.UnfinishedSuffix
	var made *Copy
	err = c.o.Files.Retry(func() (err error) {
		made, err = copier.Copy(path, size)
		return err
	})
	if err == nil {
		err = c.replaceFile(seg, copier.Needs, made, path)
	}
	if err != nil {
		return errors.Join(err, disk.RemoveIfExists(path))
	}
	return nil
}

// needsNow returns the present needs of the streams in the segment.
func (c *Compactor) needsNow(seg *liveset.Segment) map[string]*Needs {
	need := make(map[string]*Needs)
	for name := range c.o.Segments.Spans(seg) {
		need[name] = c.o.Destinations.Needs(name)
	}
	return need
}

// pause leaves the processor and the disk to others after a chunk, unless the log is full. The segment stays as it is if
// the log is closed or has failed.
func (c *Compactor) pause(took time.Duration) error {
	if !c.o.Capacity.Full() {
		select {
		case <-time.After(pauseFactor * took):
		case <-c.o.Closing:
		}
	}
	if !c.o.Usable() {
		return ErrKept
	}
	return nil
}

// replaceFile replaces the segment's file by the copy.
func (c *Compactor) replaceFile(seg *liveset.Segment, needs map[string]*Needs, made *Copy, path string) error {
	c.o.Files.Wrote(made.Length)
	c.o.Step("copied")
	replaced, err := c.o.Segments.Replace(seg, &liveset.Copy{
		Path: path, Spans: made.Spans,
		Suffices: func(spans map[string]segment.Span) bool { return c.suffices(spans, needs, made.Spans) },
		Shrunk:   func() { c.o.Step("shrunk") },
	})
	if err != nil {
		return err
	}
	if !replaced {
		return ErrKept
	}
	c.o.Segments.Resize(seg, made.Length)
	return c.o.SyncFolder() // until then a power loss may bring the old file back, which holds all events of the copy
}

// suffices reports whether the copied spans have all that is needed of these. They have not if the copy did not consider a
// destination that exists by now.
func (c *Compactor) suffices(spans map[string]segment.Span, needs map[string]*Needs, copied map[string]segment.Span) bool {
	for name, sp := range spans {
		n, has := needs[name], copied[name]
		if c.o.Destinations.Destinations(name) != len(n.Lanes) || n.Low < sp.Next && (has.Next != sp.Next || has.After != sp.After) {
			return false
		}
	}
	return true
}
