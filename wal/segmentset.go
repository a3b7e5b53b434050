package wal

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// segmentSet holds the segments of the log. Log.mu guards it, and the spans of each segment: a commit publishes the
// spans and the streams' next offsets together.
type segmentSet struct {
	log *Log

	all    []*logSegment // oldest first; the last takes the appends
	sealed int64         // bytes that all but the last occupy
	next   *logSegment   // made ready to follow the last; nil: not yet

	holders   atomic.Int32 // readers that need every segment as it is; changed under Log.mu
	holds     uint64       // calls of hold so far
	replacing sync.Mutex   // held while the spans and the file of a segment are replaced by those of its copy; before Log.mu
}

// logSegment is a segment of the log: its file, and the notes of the owners of the log's state.
type logSegment struct {
	*segfile.File

	// Guarded by Log.mu once the segment is part of the log.
	preallocated bool  // it has no state yet: the first transaction writes it
	size         int64 // bytes on the disk once it is sealed
	spans        map[string]segment.Span
	bad          map[string][]Run // the unreadable parts of each stream
	gapped       bool             // it was compacted, and lacks some events

	// Owned by the compactor.
	settledThen   uint64  // compactor.settledBytes at the last compaction or attempt, plus 1; 0: none yet
	liveShare     float64 // the live share at the last look; 0: none yet
	compactFailed bool    // a compaction failed; no other is tried

	needed neededBy // at the truncator's last look; owned by the truncator
}

// newSegment returns the segment with that number. It opens nothing.
func (set *segmentSet) newSegment(seq uint64) *logSegment {
	return &logSegment{File: segfile.New(set.log.dir, seq, &set.log.files, set.log.opts.Logger)}
}

func (set *segmentSet) active() *logSegment {
	set.log.mu.RLock()
	defer set.log.mu.RUnlock()
	return set.all[len(set.all)-1]
}

// find returns the segment that holds the stream's event at offset, or the first segment with a later event.
func (set *segmentSet) find(streamName string, offset uint64) (*logSegment, segment.Span) {
	set.log.mu.RLock()
	defer set.log.mu.RUnlock()
	for _, seg := range set.holdingLocked(streamName) {
		if sp, ok := seg.spans[streamName]; ok && sp.Next > offset {
			return seg, sp
		}
	}
	return nil, segment.Span{}
}

// holdingLocked returns the segments from the first one that holds events of the stream. Earlier segments never will,
// so the next search begins there. Log.mu is held, at least for reading.
func (set *segmentSet) holdingLocked(streamName string) []*logSegment {
	s := set.log.streams.all[streamName]
	if s == nil {
		return nil
	}
	from, _ := slices.BinarySearchFunc(set.all, s.oldest.Load(), func(seg *logSegment, seq uint64) int { return cmp.Compare(seg.Seq, seq) })
	for i, seg := range set.all[from:] {
		if _, ok := seg.spans[streamName]; ok {
			s.oldest.Store(seg.Seq)
			return set.all[from+i:]
		}
	}
	return nil
}

// changed reports whether the stream's first offset in the segment is no longer that of before.
func (set *segmentSet) changed(seg *logSegment, streamName string, before segment.Span) bool {
	set.log.mu.RLock()
	defer set.log.mu.RUnlock()
	return seg.spans[streamName].First != before.First
}

// spansOf returns the stream's span in each segment, oldest first.
func (set *segmentSet) spansOf(name string) []segment.Span {
	set.log.mu.RLock()
	defer set.log.mu.RUnlock()
	var spans []segment.Span
	for _, seg := range set.holdingLocked(name) {
		if sp, ok := seg.spans[name]; ok {
			spans = append(spans, sp)
		}
	}
	return spans
}

func (set *segmentSet) gappedSpans(name string) map[*logSegment]segment.Span {
	set.log.mu.RLock()
	defer set.log.mu.RUnlock()
	spans := make(map[*logSegment]segment.Span)
	for _, seg := range set.holdingLocked(name) {
		if sp, ok := seg.spans[name]; ok && seg.gapped {
			spans[seg] = sp
		}
	}
	return spans
}

// gapped reports whether the segment lacks events that every destination has settled.
func (set *segmentSet) gapped(seg *logSegment) bool {
	set.log.mu.RLock()
	defer set.log.mu.RUnlock()
	return seg.gapped
}

// sealedLocked returns the segments before the newest. Before the newest has begun, the segment before it is left out:
// it has the log's state.
func (set *segmentSet) sealedLocked() []*logSegment {
	last := len(set.all) - 1
	if set.all[last].preallocated {
		last--
	}
	return set.all[:max(last, 0)]
}

// doneWith reports whether every destination has settled the events of the newest segment, on the disk or only in
// memory.
func (set *segmentSet) doneWith(active *logSegment) bool {
	set.log.mu.RLock()
	defer set.log.mu.RUnlock()
	if set.holders.Load() > 0 {
		return false
	}
	for name, sp := range active.spans {
		if set.log.streams.all[name].firstNeeded() < sp.Next {
			return false
		}
	}
	return true
}

// hold keeps truncation and compaction out until release is called.
func (set *segmentSet) hold() (release func()) {
	set.replacing.Lock() // a copy has replaced its segment, or has not begun to
	defer set.replacing.Unlock()
	set.log.mu.Lock()
	defer set.log.mu.Unlock()
	set.holders.Add(1)
	set.holds++
	return func() {
		set.holders.Add(-1)
		set.log.truncator.owed.Store(true)
		set.log.committer.touch()
	}
}

// blockAt returns the header of the block that holds the offset, or of the first block after it. ok is false if there
// is none, or if it cannot be read: Read reports the damage.
func (set *segmentSet) blockAt(streamName string, offset uint64) (found segment.Block, ok bool) {
	seg, sp := set.find(streamName, offset)
	if seg == nil {
		return segment.Block{}, false
	}
	_ = seg.Walk(streamName, offset, sp.Next, func(_ segment.BlockPlace, b segment.Block, fault string) (bool, error) {
		b.Stream, b.Frames = streamName, nil // these bytes belong to the transaction
		found, ok = b, fault == ""
		return true, nil
	})
	return found, ok
}
