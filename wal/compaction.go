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

	"github.com/standpipe/standpipe/wal/internal/disk"
)

// compactor rewrites sealed segments without the events that every destination has settled. A destination, or one of its
// lanes, may be stuck for days: it keeps its own events, but not the events of others that were appended beside them. While
// the sealed segments occupy much more bytes than their live events, the segment with the smallest live share is copied
// without the rest, and the copy replaces its file under the same name. One segment is compacted at a time, beside the
// committer.
type compactor struct {
	log *Log

	running  atomic.Bool    // a compaction runs
	workers  sync.WaitGroup // the goroutine that compacts; Close waits for it
	lastLook time.Time      // the last search for a segment to compact; owned by the goroutine that has set running
	copying  atomic.Int64   // the most bytes that the copy under way occupies
}

const (
	// rewriteOver: segments are rewritten while the sealed ones occupy more than this many sixteenths of
	// what is needed of all, and half a segment.
	rewriteOver = 18
	// rewriteShare: only a segment is rewritten of which at most this many quarters stay, so that a byte that
	// is written frees a third at least,
	rewriteShare = 3
	// and which gets shorter by this much.
	rewriteLeast = 32 << 10
	// rewritePatience is how often it is looked for something to rewrite; twice for a segment, since most drain.
	rewritePatience = 5 * time.Second
	// rewriteExtra is what an event counts as beside its payload.
	rewriteExtra = 32
	// rewriteChunk bounds what is held in memory meanwhile, and what a commit's sync may have to wait for: so much is
	// read, and so much is written and synced, at a time.
	rewriteChunk = 1 << 20
	// rewriteRest is for how many times as long the processor and the disk are left to others then.
	rewriteRest = 3
)

// errKept: the segment stays as it is for now.
var errKept = errors.New("wal: the segment is needed as it is")

// startRewriting rewrites what is worth it, unless that is under way. It is called after truncating, and by upkeep.
func (c *compactor) start() {
	if !c.running.CompareAndSwap(false, true) {
		return
	}
	now, urgent := time.Now(), c.log.opts.rewriteAtOnce || c.log.Full()
	if !urgent && now.Sub(c.lastLook) < rewritePatience {
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

func (c *compactor) compactOne(seg *segmentFile, settled uint64) {
	before := seg.disk()
	seg.looked = settled + 1
	switch err := c.compact(seg); {
	case err == nil:
		c.log.opts.Logger.Debug("segment rewritten to what is needed of it", "segment", seg.path, "before", before, "bytes", seg.disk())
	case !errors.Is(err, errKept) && !errors.Is(err, errGone) && !disk.Shortage(err) && !unread(err):
		seg.kept = true
		c.log.opts.Logger.Warn("a segment could not be rewritten", "segment", seg.path, "error", err)
	}
}

// overfull tells whether the sealed segments occupy much more than what is needed, and how much has been
// settled so far.
func (c *compactor) overThreshold() (settled uint64, over bool) {
	settled, needed := c.settledBytes()
	c.log.mu.RLock()
	defer c.log.mu.RUnlock()
	return settled, float64(c.log.sealed) > float64(needed)*rewriteOver/16+float64(c.log.opts.SegmentSize)/2
}

// settledBytes returns about how many bytes all destinations have settled so far, and how many some
// destination needs.
func (c *compactor) settledBytes() (settled, needed uint64) {
	for _, s := range c.log.sortedStreams() {
		s.mu.Lock()
		most := Count{}
		for _, p := range s.cursors {
			p.mu.Lock()
			settled += p.ledger.settled().weight()
			if pending := p.pendingLocked(); pending.weight() > most.weight() {
				most = pending
			}
			p.mu.Unlock()
		}
		if len(s.cursors) == 0 {
			most = Count{s.next - 1, s.bytes}
		}
		needed += most.weight()
		s.mu.Unlock()
	}
	return settled, needed
}

func (c Count) weight() uint64 { return c.Bytes + rewriteExtra*c.Events }

// mostlySettled returns the segments that may be worth it, those first of which the least part seems to be
// needed. One that was looked at waits until half of what it occupies has been settled somewhere, and one
// that is being settled drains by itself, unless it is urgent.
func (c *compactor) bySettledShare(settled uint64, urgent bool) (found []*segmentFile) {
	all := make(map[string]*needs)
	for seg, spans := range c.candidates(settled) {
		share := c.liveShare(spans, all)
		drains := seg.share == 0 || share < seg.share-0.02
		if seg.share = share; urgent || !drains {
			found = append(found, seg)
		}
	}
	slices.SortStableFunc(found, func(a, b *segmentFile) int { return cmp.Compare(a.share, b.share) })
	return found
}

// candidates returns the segments that may be rewritten, with their spans, which change no more.
func (c *compactor) candidates(settled uint64) map[*segmentFile]map[string]span {
	c.log.mu.RLock()
	defer c.log.mu.RUnlock()
	found := make(map[*segmentFile]map[string]span)
	for _, s := range c.log.sealedLocked() {
		rests := s.looked > 0 && settled < s.looked+uint64(s.size)/2
		if !s.kept && !rests && len(s.bad) == 0 && s.index.Load() == nil && s.size >= 2*rewriteLeast {
			found[s] = s.spans
		}
	}
	return found
}

// shareOf returns how large a part of a segment seems to be needed.
func (c *compactor) liveShare(spans map[string]span, all map[string]*needs) float64 {
	share, bytes := 0.0, 0.0
	for name, sp := range spans {
		n := all[name]
		if n == nil {
			n = c.log.lookup(name).needs()
			all[name] = n
		}
		weight := float64(sp.count().weight())
		bytes += weight
		share += n.share(sp) * weight
	}
	return share / bytes
}

// rewrite replaces the segment's file by one without what is not needed, if that is worth it.
func (c *compactor) compact(seg *segmentFile) error {
	need := c.needsNow(seg)
	size, err := c.measure(seg, need)
	if err != nil {
		return err
	}
	if size > seg.size*rewriteShare/4 || seg.size-size < rewriteLeast {
		return errKept
	}
	defer c.copying.Store(0)
	c.copying.Store(size) // from here on appends leave the room for it
	if size > c.log.copyRoom() && c.log.spareForCopy() < 0 {
		return errKept
	}
	path := seg.path + unfinishedSuffix
	var sv *sieve
	err = c.log.scrape(func() (err error) {
		sv, err = c.copySegment(seg, need, path, size)
		return err
	})
	if err == nil {
		err = c.replaceFile(seg, sv, path)
	}
	if err != nil {
		return errors.Join(err, disk.RemoveIfExists(path))
	}
	return nil
}

// needsOf returns what is needed of the segment's streams now.
func (c *compactor) needsNow(seg *segmentFile) map[string]*needs {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	need := make(map[string]*needs)
	for name := range seg.spans {
		need[name] = c.log.streams[name].needs()
	}
	return need
}

// measure returns how much the rewritten segment will occupy at most.
func (c *compactor) measure(seg *segmentFile, need map[string]*needs) (size int64, err error) {
	sv := newSieve(seg.seq, need)
	if err := c.eachChunk(seg, bucketBlocks, sv.sift, nil); err != nil {
		return 0, err
	}
	sv.end(func(uint64, []byte) {})
	// Half of a page is lost at the end of a leaf of two blocks or more; the state and some pages come on top.
	return sv.size + sv.size/8 + sv.index.size.Load() + 2*c.log.stateBytes.Load() + emptySegment, nil
}

// copySegment writes the needed events of the segment, at most size bytes, to path and syncs the file.
func (c *compactor) copySegment(seg *segmentFile, need map[string]*needs, path string, size int64) (sv *sieve, err error) {
	if err := disk.RemoveIfExists(path); err != nil { // of an attempt that failed
		return nil, err
	}
	db, file, err := openBoltAndFile(path, &bolt.Options{NoSync: true, InitialMmapSize: mapAhead(size, copyAhead)})
	if err != nil {
		return nil, err
	}
	w := copyWriter{db: db}
	defer func() {
		if err = errors.Join(err, w.abandon(), db.Close()); err == nil {
			err = os.Truncate(path, w.length)
		}
	}()
	if err := disk.Lengthen(file, size); err != nil {
		return nil, fmt.Errorf("lengthen %s: %w", path, err)
	}
	whole := func(k, v []byte, c *bucketChunk) error {
		c.add(bytes.Clone(k), bytes.Clone(v))
		return nil
	}
	for _, name := range [][]byte{bucketMeta, bucketState} {
		if err := c.eachChunk(seg, name, whole, &w); err != nil {
			return nil, err
		}
	}
	sv = newSieve(seg.seq, need)
	if err := c.eachChunk(seg, bucketBlocks, sv.sift, &w); err != nil {
		return nil, err
	}
	var last bucketChunk
	sv.end(last.addBlock)
	if err := w.put(bucketBlocks, &last); err != nil {
		return nil, err
	}
	if err := errors.Join(sv.index.write(w.tx, seg.seq), w.tx.Bucket(bucketMeta).Put(keyGapped, appendHeld(sv.held))); err != nil {
		return nil, err
	}
	err = w.commit()
	sv.length = w.length
	return sv, err
}

// copyWriter writes a copy with transactions of rewriteChunk, since each leaves pages free.
type copyWriter struct {
	db     *bolt.DB
	tx     *bolt.Tx // nil between transactions
	bytes  int      // of the transaction
	length int64    // of the file's pages
}

func (w *copyWriter) put(name []byte, c *bucketChunk) (err error) {
	if w.bytes > rewriteChunk {
		if err := w.commit(); err != nil {
			return err
		}
	}
	if w.tx == nil {
		if w.tx, err = w.db.Begin(true); err != nil {
			return fmt.Errorf("begin copy: %w", err)
		}
	}
	bucket, err := w.tx.CreateBucketIfNotExists(name)
	if err != nil {
		return fmt.Errorf("create bucket: %w", err)
	}
	bucket.FillPercent = 1
	for i := range c.keys {
		if err := bucket.Put(c.keys[i], c.values[i]); err != nil {
			return fmt.Errorf("put: %w", err)
		}
		w.bytes += len(c.keys[i]) + len(c.values[i])
	}
	return nil
}

func (w *copyWriter) commit() error {
	tx := w.tx
	w.tx, w.bytes = nil, 0
	if err := errors.Join(tx.Commit(), w.db.Sync()); err != nil {
		return fmt.Errorf("commit copy: %w", err)
	}
	return viewBolt(w.db, w.db.Path(), 0, func(tx *bolt.Tx) error {
		w.length = tx.Size()
		return nil
	})
}

// abandon ends a transaction that a fault has left open.
func (w *copyWriter) abandon() error {
	if w.tx == nil {
		return nil
	}
	return w.tx.Rollback()
}

// sift sieves an entry of the bucket of blocks.
func (s *sieve) sift(k, v []byte, c *bucketChunk) error {
	b, fault := parseBlock(s.seq, k, v)
	if fault != "" {
		return errKept // what of it is lost is for its readers to say
	}
	return s.add(&b, c.addBlock)
}

// eachChunk passes the entries of a bucket through f, and puts what f adds into to, unless that is nil.
func (c *compactor) eachChunk(seg *segmentFile, name []byte, f func(k, v []byte, c *bucketChunk) error, to *copyWriter) error {
	for next := []byte{}; next != nil; {
		var chunk bucketChunk
		start := time.Now()
		err := seg.view(func(r reader) error {
			bucket := r.bucket(name)
			if bucket == nil {
				return errKept
			}
			return chunk.read(bucket, next, f)
		})
		if err == nil && to != nil {
			err = to.put(name, &chunk)
		}
		if err != nil {
			return err
		}
		c.pause(time.Since(start))
		if c.log.usable() != nil {
			return errKept
		}
		next = chunk.next
	}
	return nil
}

// restAfter leaves the processor and the disk to others after a piece of a rewrite, unless the log is full.
func (c *compactor) pause(took time.Duration) {
	if c.log.Full() {
		return
	}
	select {
	case <-time.After(rewriteRest * took):
	case <-c.log.closing:
	}
}

// bucketChunk is a part of a bucket's entries.
type bucketChunk struct {
	keys, values [][]byte
	next         []byte // where to go on; nil: nowhere
}

func (b *bucketChunk) add(key, value []byte) {
	b.keys, b.values = append(b.keys, key), append(b.values, value)
}

func (b *bucketChunk) addBlock(number uint64, value []byte) { b.add(numberKey(number), value) }

// read passes about rewriteChunk bytes of entries through f.
func (b *bucketChunk) read(c entries, from []byte, f func(k, v []byte, c *bucketChunk) error) error {
	size := 0
	for k, v := c.Seek(from); k != nil; k, v = c.Next() {
		if size > rewriteChunk {
			b.next = bytes.Clone(k)
			return nil
		}
		if err := f(k, v, b); err != nil {
			return err
		}
		size += len(k) + len(v)
	}
	return nil
}

// replace puts the copy in the segment's place.
func (c *compactor) replaceFile(seg *segmentFile, sv *sieve, path string) error {
	c.log.opts.rewriteStep("copied")
	if err := c.swapIn(seg, sv, path); err != nil {
		return err
	}
	c.noteSize(seg, sv.length)
	return c.log.lock.sync() // until then a loss of the power may bring the old file back, which has all that this one has
}

// resized counts the segment with the bytes that it occupies now: at least length, since the file system may count blocks
// late.
func (c *compactor) noteSize(seg *segmentFile, length int64) {
	size := max(seg.disk(), length)
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	for _, s := range c.log.segments {
		if s == seg { // not truncated meanwhile
			c.log.sealed += size - seg.size
			seg.size = size
		}
	}
}

// exchange replaces the spans, and then the file, by those of the copy: a reader that uses the old spans may meet the new
// file, and then looks again. No reckoning uses the content of the segment in between: see hold.
func (c *compactor) swapIn(seg *segmentFile, sv *sieve, path string) error {
	c.log.swapping.Lock()
	defer c.log.swapping.Unlock()
	if err := c.swapSpans(seg, sv); err != nil {
		return err
	}
	c.log.opts.rewriteStep("shrunk")
	return seg.swap(path)
}

// clamp returns the offset in the span, or at its end, that is nearest.
func (s span) clamp(offset uint64) uint64 { return min(max(offset, s.first), s.next) }

// shrink makes the spans those of the copy, unless there is a destination by now that was not reckoned with,
// or what the segment holds is being counted.
func (c *compactor) swapSpans(seg *segmentFile, sv *sieve) error {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	if c.log.held.Load() > 0 || len(seg.bad) > 0 {
		return errKept
	}
	spans := sv.index.spans()
	for name, sp := range seg.spans {
		n, copied := sv.needs[name], spans[name]
		if len(c.log.streams[name].sortedCursors()) != len(n.places) || n.low < sp.next && (copied.next != sp.next || copied.after != sp.after) {
			return errKept
		}
	}
	seg.spans, seg.gapped = spans, true
	return nil
}

// swap renames the copy over the segment's file.
func (s *segmentFile) swap(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone || s.closed {
		return errKept
	}
	if err := s.closeLocked(); err != nil {
		return err
	}
	s.swaps.Add(1)
	if err := os.Rename(path, s.path); err != nil {
		return err
	}
	s.index.Store(nil) // if somebody patched it meanwhile
	return nil
}
