package wal

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/compact"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// compactor replaces sealed segments by copies without the events that every destination has settled. A destination, or
// one of its lanes, may be stuck for days. The log keeps the events that this destination needs, but not the other
// events that were appended beside them. While the sealed segments occupy much more bytes than their live events, the
// compactor copies the live events of the segment with the smallest live share. The copy replaces the segment's file
// under the same name. One segment is compacted at a time, beside the committer.
type compactor struct {
	log *Log

	running  atomic.Bool    // a compaction runs
	workers  sync.WaitGroup // the goroutine that compacts; Close waits for it
	lastLook time.Time      // the last search for a segment to compact; owned by the goroutine that has set running

	notes map[*liveset.Segment]*compactNote // of the sealed segments; owned as lastLook is
}

// compactNote is what the compactor records about a segment.
type compactNote struct {
	settledThen uint64  // settledBytes at the last compaction or attempt, plus 1; 0: none yet
	liveShare   float64 // the live share at the last look; 0: none yet
	failed      bool    // a compaction failed; no other is tried
}

const (
	// compactOver: segments are compacted while the sealed ones occupy more than this many sixteenths of the live
	// bytes, plus half a segment.
	compactOver = 18
	// compactShare: a segment is compacted only if at most this many quarters of it are live. Each written byte then
	// frees at least a third of a byte.
	compactShare = 3
	// compactLeast: a segment is compacted only if it shrinks by at least this many bytes.
	compactLeast = 32 << 10
	// compactEvery is the interval between searches. A segment is compacted after the second search that finds it: most
	// segments drain by themselves.
	compactEvery = 5 * time.Second
	// eventWeight is the number of bytes that an event counts as in addition to its payload.
	eventWeight = 32
	// compactPause: after each chunk the compactor pauses for this many times as long as the chunk took.
	compactPause = 3
)

// start compacts the segments that are worth a compaction, unless a compaction is under way. The truncator and upkeep
// call it.
func (c *compactor) start() {
	if !c.running.CompareAndSwap(false, true) {
		return
	}
	now, urgent := time.Now(), c.log.opts.compactAtOnce || c.log.Full()
	if !urgent && now.Sub(c.lastLook) < compactEvery {
		c.running.Store(false)
		return
	}
	c.lastLook = now
	c.workers.Go(func() {
		defer c.running.Store(false)
		settled, over := c.overThreshold()
		for _, seg := range c.bySettledShare(settled, urgent) {
			if !over || c.log.usable() != nil {
				return
			}
			c.compactOne(seg, settled)
			settled, over = c.overThreshold()
		}
	})
}

func (c *compactor) compactOne(seg *liveset.Segment, settled uint64) {
	before := seg.Disk()
	note := c.notes[seg]
	note.settledThen = settled + 1
	switch err := c.compact(seg); {
	case err == nil:
		c.log.opts.Logger.Debug("segment compacted", "segment", seg.Path, "before", before, "bytes", seg.Disk())
	case !errors.Is(err, compact.ErrKept) && !errors.Is(err, segfile.ErrGone) && !disk.Shortage(err) && !segment.Unread(err):
		note.failed = true
		c.log.opts.Logger.Warn("segment not compacted", "segment", seg.Path, "error", err)
	}
}

// overThreshold reports whether the sealed segments occupy much more bytes than their live events. settled is the
// number of bytes that all destinations have settled so far.
func (c *compactor) overThreshold() (settled uint64, over bool) {
	settled, needed := c.settledBytes()
	return settled, float64(c.log.segments.Use().Sealed) > float64(needed)*compactOver/16+float64(c.log.opts.SegmentSize)/2
}

// settledBytes returns about how many bytes all destinations have settled so far, and how many are live: needed by at
// least one destination.
func (c *compactor) settledBytes() (settled, needed uint64) {
	for _, s := range c.log.streams.sorted() {
		s.mu.Lock()
		most := Count{}
		for _, p := range s.cursors {
			p.mu.Lock()
			settled += weight(p.at.Ledger.Settled())
			if pending := p.pendingLocked(); weight(pending) > weight(most) {
				most = pending
			}
			p.mu.Unlock()
		}
		if len(s.cursors) == 0 {
			most = Count{Events: s.next - 1, Bytes: s.bytes}
		}
		needed += weight(most)
		s.mu.Unlock()
	}
	return settled, needed
}

func weight(c Count) uint64 { return c.Bytes + eventWeight*c.Events }

// bySettledShare returns the segments that may be worth a compaction, the smallest live share first. A segment that was
// measured before waits until destinations have settled half as many bytes as it occupies. A segment whose live share
// falls drains by itself, and is left out unless the compaction is urgent.
func (c *compactor) bySettledShare(settled uint64, urgent bool) (found []*liveset.Segment) {
	all := make(map[string]*compact.Needs)
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
func (c *compactor) candidates(settled uint64) (found []liveset.Sealed) {
	notes := make(map[*liveset.Segment]*compactNote)
	for _, s := range c.log.segments.Sealed() {
		note := c.notes[s.Segment]
		if note == nil {
			note = new(compactNote)
		}
		notes[s.Segment] = note
		waits := note.settledThen > 0 && settled < note.settledThen+uint64(s.Size)/2
		if !note.failed && !waits && !s.Damaged && s.Index() == nil && s.Size >= 2*compactLeast {
			found = append(found, s)
		}
	}
	c.notes = notes
	return found
}

// needs returns the events of the stream that some destination would need after a crash.
func (s *stream) needs() *compact.Needs {
	n := &compact.Needs{Low: s.low()}
	for _, p := range s.sortedCursors() {
		p.mu.Lock()
		n.Lanes = append(n.Lanes, p.at.Synced)
		p.mu.Unlock()
	}
	return n
}

// liveShare estimates the live part of a segment, from 0 to 1.
func (c *compactor) liveShare(spans map[string]segment.Span, all map[string]*compact.Needs) float64 {
	share, bytes := 0.0, 0.0
	for name, sp := range spans {
		n := all[name]
		if n == nil {
			n = c.log.streams.lookup(name).needs()
			all[name] = n
		}
		weight := float64(weight(sp.Count()))
		bytes += weight
		share += n.Share(sp) * weight
	}
	return share / bytes
}

// compact replaces the segment's file by a copy of its live events, if that frees enough bytes.
func (c *compactor) compact(seg *liveset.Segment) error {
	copier := compact.Copier{Segment: seg.File, Needs: c.needsNow(seg), Pause: c.pause}
	events, err := copier.Measure()
	if err != nil {
		return err
	}
	size := events + 2*c.log.capacity.StateBytes.Load() + capacity.EmptySegment
	if before := c.log.segments.Size(seg); size > before*compactShare/4 || before-size < compactLeast {
		return compact.ErrKept
	}
	if !c.log.capacity.HoldCopy(size) {
		return compact.ErrKept
	}
	defer c.log.capacity.EndCopy()
	path := seg.Path + segment.UnfinishedSuffix
	var made *compact.Copy
	err = c.log.files.Retry(func() (err error) {
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
func (c *compactor) needsNow(seg *liveset.Segment) map[string]*compact.Needs {
	need := make(map[string]*compact.Needs)
	for name := range c.log.segments.Spans(seg) {
		need[name] = c.log.streams.lookup(name).needs()
	}
	return need
}

// pause leaves the processor and the disk to others after a chunk, unless the log is full. The segment stays as it is if
// the log is closed or has failed.
func (c *compactor) pause(took time.Duration) error {
	if !c.log.Full() {
		select {
		case <-time.After(compactPause * took):
		case <-c.log.closing:
		}
	}
	if c.log.usable() != nil {
		return compact.ErrKept
	}
	return nil
}

// replaceFile replaces the segment's file by the copy.
func (c *compactor) replaceFile(seg *liveset.Segment, needs map[string]*compact.Needs, made *compact.Copy, path string) error {
	c.log.opts.compactStep("copied")
	replaced, err := c.log.segments.Replace(seg, &liveset.Copy{
		Path: path, Spans: made.Spans,
		Suffices: func(spans map[string]segment.Span) bool { return c.suffices(spans, needs, made.Spans) },
		Shrunk:   func() { c.log.opts.compactStep("shrunk") },
	})
	if err != nil {
		return err
	}
	if !replaced {
		return compact.ErrKept
	}
	c.log.segments.Resize(seg, made.Length)
	return c.log.lock.Sync() // until then a power loss may bring the old file back, which holds all events of the copy
}

// suffices reports whether the copied spans have all that is needed of these. They have not if the copy did not consider a
// destination that exists by now.
func (c *compactor) suffices(spans map[string]segment.Span, needs map[string]*compact.Needs, copied map[string]segment.Span) bool {
	for name, sp := range spans {
		n, has := needs[name], copied[name]
		if len(c.log.streams.lookup(name).sortedCursors()) != len(n.Lanes) || n.Low < sp.Next && (has.Next != sp.Next || has.After != sp.After) {
			return false
		}
	}
	return true
}
