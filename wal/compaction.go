package wal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltcopy"
	"github.com/standpipe/standpipe/wal/internal/disk"
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
	copying  atomic.Int64   // the most bytes that the copy under way occupies
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

// errKept is returned if the segment stays as it is for now.
var errKept = errors.New("wal: the segment is needed as it is")

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

func (c *compactor) compactOne(seg *logSegment, settled uint64) {
	before := seg.Disk()
	seg.looked = settled + 1
	switch err := c.compact(seg); {
	case err == nil:
		c.log.opts.Logger.Debug("segment compacted", "segment", seg.Path, "before", before, "bytes", seg.Disk())
	case !errors.Is(err, errKept) && !errors.Is(err, segfile.ErrGone) && !disk.Shortage(err) && !segment.Unread(err):
		seg.kept = true
		c.log.opts.Logger.Warn("segment not compacted", "segment", seg.Path, "error", err)
	}
}

// overThreshold reports whether the sealed segments occupy much more bytes than their live events. settled is the
// number of bytes that all destinations have settled so far.
func (c *compactor) overThreshold() (settled uint64, over bool) {
	settled, needed := c.settledBytes()
	c.log.mu.RLock()
	defer c.log.mu.RUnlock()
	return settled, float64(c.log.segments.sealed) > float64(needed)*compactOver/16+float64(c.log.opts.SegmentSize)/2
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
func (c *compactor) bySettledShare(settled uint64, urgent bool) (found []*logSegment) {
	all := make(map[string]*needs)
	for seg, spans := range c.candidates(settled) {
		share := c.liveShare(spans, all)
		drains := seg.share == 0 || share < seg.share-0.02
		if seg.share = share; urgent || !drains {
			found = append(found, seg)
		}
	}
	slices.SortStableFunc(found, func(a, b *logSegment) int { return cmp.Compare(a.share, b.share) })
	return found
}

// candidates returns the segments that may be compacted, with their spans, which no longer change.
func (c *compactor) candidates(settled uint64) map[*logSegment]map[string]segment.Span {
	c.log.mu.RLock()
	defer c.log.mu.RUnlock()
	found := make(map[*logSegment]map[string]segment.Span)
	for _, s := range c.log.segments.sealedLocked() {
		rests := s.looked > 0 && settled < s.looked+uint64(s.size)/2
		if !s.kept && !rests && len(s.bad) == 0 && s.Index() == nil && s.size >= 2*compactLeast {
			found[s] = s.spans
		}
	}
	return found
}

// liveShare estimates the live part of a segment, from 0 to 1.
func (c *compactor) liveShare(spans map[string]segment.Span, all map[string]*needs) float64 {
	share, bytes := 0.0, 0.0
	for name, sp := range spans {
		n := all[name]
		if n == nil {
			n = c.log.streams.lookup(name).needs()
			all[name] = n
		}
		weight := float64(weight(sp.Count()))
		bytes += weight
		share += n.share(sp) * weight
	}
	return share / bytes
}

// compact replaces the segment's file by a copy of its live events, if that frees enough bytes.
func (c *compactor) compact(seg *logSegment) error {
	need := c.needsNow(seg)
	size, err := c.measure(seg, need)
	if err != nil {
		return err
	}
	if size > seg.size*compactShare/4 || seg.size-size < compactLeast {
		return errKept
	}
	defer c.copying.Store(0)
	c.copying.Store(size) // from here on appends leave these bytes free
	if size > c.log.capacity.copyRoom() && c.log.capacity.spareForCopy() < 0 {
		return errKept
	}
	path := seg.Path + segment.UnfinishedSuffix
	var filter *liveFilter
	err = c.log.files.Retry(func() (err error) {
		filter, err = c.copySegment(seg, need, path, size)
		return err
	})
	if err == nil {
		err = c.replaceFile(seg, filter, path)
	}
	if err != nil {
		return errors.Join(err, disk.RemoveIfExists(path))
	}
	return nil
}

// needsNow returns the present needs of the streams in the segment.
func (c *compactor) needsNow(seg *logSegment) map[string]*needs {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	need := make(map[string]*needs)
	for name := range seg.spans {
		need[name] = c.log.streams.all[name].needs()
	}
	return need
}

// measure returns the most bytes that the copy of the segment will occupy.
func (c *compactor) measure(seg *logSegment, need map[string]*needs) (size int64, err error) {
	filter := newLiveFilter(seg.Seq, need)
	if err := c.eachChunk(seg, segment.BucketBlocks, filter.filterEntry, nil); err != nil {
		return 0, err
	}
	filter.end(func(uint64, []byte) {})
	// Half of a page is lost at the end of a leaf of two blocks or more; the state and some pages come on top.
	return filter.size + filter.size/8 + filter.index.Size.Load() + 2*c.log.stateBudget.bytes.Load() + emptySegment, nil
}

// copySegment writes the needed events of the segment, at most size bytes, to path and syncs the file.
func (c *compactor) copySegment(seg *logSegment, need map[string]*needs, path string, size int64) (filter *liveFilter, err error) {
	if err := disk.RemoveIfExists(path); err != nil { // of an attempt that failed
		return nil, err
	}
	db, file, err := segment.OpenBoltFile(path, &bolt.Options{NoSync: true, InitialMmapSize: segment.MapAhead(size, segment.CopyAhead)})
	if err != nil {
		return nil, err
	}
	w := boltcopy.Writer{DB: db}
	defer func() {
		if err = errors.Join(err, w.Abandon(), db.Close()); err == nil {
			err = os.Truncate(path, w.Length)
		}
	}()
	if err := disk.Lengthen(file, size); err != nil {
		return nil, fmt.Errorf("lengthen %s: %w", path, err)
	}
	whole := func(k, v []byte, c *boltcopy.Chunk) error {
		c.Add(bytes.Clone(k), bytes.Clone(v))
		return nil
	}
	for _, name := range [][]byte{segment.BucketMeta, segment.BucketState} {
		if err := c.eachChunk(seg, name, whole, &w); err != nil {
			return nil, err
		}
	}
	filter = newLiveFilter(seg.Seq, need)
	if err := c.eachChunk(seg, segment.BucketBlocks, filter.filterEntry, &w); err != nil {
		return nil, err
	}
	var last boltcopy.Chunk
	filter.end(last.AddBlock)
	if err := w.Put(segment.BucketBlocks, &last); err != nil {
		return nil, err
	}
	if err := errors.Join(filter.index.Write(w.Tx, seg.Seq), w.Tx.Bucket(segment.BucketMeta).Put(segment.KeyGapped, segment.AppendHeld(filter.held))); err != nil {
		return nil, err
	}
	err = w.Commit()
	filter.length = w.Length
	return filter, err
}

// filterEntry filters an entry of the bucket of blocks.
func (s *liveFilter) filterEntry(k, v []byte, c *boltcopy.Chunk) error {
	b, fault := segment.ParseBlock(s.seq, k, v)
	if fault != "" {
		return errKept // its readers report the damage
	}
	return s.add(&b, c.AddBlock)
}

// eachChunk calls f for each entry of a bucket, chunk by chunk. If to is not nil, it writes the entries that f adds to
// the chunk into the copy.
func (c *compactor) eachChunk(seg *logSegment, name []byte, f func(k, v []byte, c *boltcopy.Chunk) error, to *boltcopy.Writer) error {
	for next := []byte{}; next != nil; {
		var chunk boltcopy.Chunk
		start := time.Now()
		err := seg.View(func(r segment.Reader) error {
			bucket := r.Bucket(name)
			if bucket == nil {
				return errKept
			}
			return chunk.Read(bucket, next, f)
		})
		if err == nil && to != nil {
			err = to.Put(name, &chunk)
		}
		if err != nil {
			return err
		}
		c.pause(time.Since(start))
		if c.log.usable() != nil {
			return errKept
		}
		next = chunk.Next
	}
	return nil
}

// pause leaves the processor and the disk to others after a chunk, unless the log is full.
func (c *compactor) pause(took time.Duration) {
	if c.log.Full() {
		return
	}
	select {
	case <-time.After(compactPause * took):
	case <-c.log.closing:
	}
}

// replaceFile replaces the segment's file by the copy.
func (c *compactor) replaceFile(seg *logSegment, filter *liveFilter, path string) error {
	c.log.opts.compactStep("copied")
	if err := c.swapIn(seg, filter, path); err != nil {
		return err
	}
	c.noteSize(seg, filter.length)
	return c.log.lock.Sync() // until then a power loss may bring the old file back, which holds all events of the copy
}

// noteSize records the bytes that the segment occupies now: at least length, since the file system may count blocks
// late.
func (c *compactor) noteSize(seg *logSegment, length int64) {
	size := max(seg.Disk(), length)
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	for _, s := range c.log.segments.all {
		if s == seg { // not truncated meanwhile
			c.log.segments.sealed += size - seg.size
			seg.size = size
		}
	}
}

// swapIn replaces the spans, and then the file, by those of the copy. A reader with the old spans may meet the new
// file, and then looks up the segment again. No loss is counted in between: see hold.
func (c *compactor) swapIn(seg *logSegment, filter *liveFilter, path string) error {
	c.log.segments.swapping.Lock()
	defer c.log.segments.swapping.Unlock()
	if err := c.swapSpans(seg, filter); err != nil {
		return err
	}
	c.log.opts.compactStep("shrunk")
	return seg.Replace(path)
}

// swapSpans replaces the spans by those of the copy. It returns errKept if the copy did not consider a destination that
// exists by now, or if the events of the segment are being counted.
func (c *compactor) swapSpans(seg *logSegment, filter *liveFilter) error {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	if c.log.segments.holders.Load() > 0 || len(seg.bad) > 0 {
		return errKept
	}
	spans := filter.index.Spans()
	for name, sp := range seg.spans {
		n, copied := filter.needs[name], spans[name]
		if len(c.log.streams.all[name].sortedCursors()) != len(n.cursors) || n.low < sp.Next && (copied.Next != sp.Next || copied.After != sp.After) {
			return errKept
		}
	}
	seg.spans, seg.gapped = spans, true
	return nil
}
