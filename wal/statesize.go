package wal

import (
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// stateBudget bounds the state: the log's record of streams with events, of their destinations and of producers. Each
// segment begins with all of it, so its size decides how small a log can be. New names are rejected beyond most. With a
// state of that size, a log of MaxSize has room for the newest segment, for the next one, and for an append of
// largestAppend bytes. The entries of known destinations may grow beyond the bound, with the distance between their
// lanes. The entries of known producers do not: they keep fewer runs instead.
type stateBudget struct {
	log *Log

	bytes       atomic.Int64 // of the pages that a newly written state takes
	cursorBytes atomic.Int64 // the destinations' part of it
	full        noted        // the last time a name was rejected
}

// most returns the limit of the state for new names. The map of a segment has room for four times that. The log stores
// the state up to three times, so the bytes that are held for dead letters lower the limit by a third of their number.
// If the volume has fewer bytes for the log than MaxSize, those bytes count instead.
func (b *stateBudget) most() int64 {
	most := min(b.log.opts.MaxSize/8-b.log.capacity.deadHeld()/3, segfile.NewestAhead()/4)
	if volume := b.log.capacity.volume.Load(); volume > 0 {
		most = min(most, max(volume, MinMaxSize)/8)
	}
	return most
}

// mostRuns returns the most bytes of the state that producers' runs may take.
func (b *stateBudget) mostRuns() int64 { return b.most() / 2 }

// streamPages returns the bytes that a stream takes of the state: its value has two numbers.
func streamPages(name string) int64 { return segment.StatePages(12, name) }

// resizeLocked counts the cursor's part of the state, of value bytes. It is called with p.mu held.
func (p *Cursor) resizeLocked(value int) {
	pages := segment.StatePages(value, p.stream.name, p.name)
	p.log.stateBudget.bytes.Add(pages - p.pages)
	p.log.stateBudget.cursorBytes.Add(pages - p.pages)
	p.pages = pages
}

// measureLocked is resizeLocked for a cursor that is not being written. It is called with p.mu held.
func (p *Cursor) measureLocked() { p.resizeLocked(len(p.at.Append(nil))) }

// pagesOf returns the bytes that the stream and its cursors add to the state with the first event.
func (s *stream) pagesOf() (pages int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.cursors {
		p.mu.Lock()
		if !p.inState {
			pages += segment.StatePages(len(p.at.Append(nil)), s.name, p.name)
		}
		p.mu.Unlock()
	}
	return pages + streamPages(s.name)
}

// countStreamLocked is called for each stream that has an event: from the first on, the stream and its cursors are part
// of the state. s.mu is held.
func (b *stateBudget) countStreamLocked(s *stream) {
	if s.stored.Swap(true) {
		return
	}
	b.bytes.Add(streamPages(s.name))
	b.log.streams.born.Wake()
	for _, p := range s.cursors {
		p.mu.Lock()
		if !p.inState {
			p.inState = true
			p.dirtyLocked()
			p.measureLocked()
			b.log.committer.touch()
		}
		p.mu.Unlock()
	}
}

// count calculates the size of the state, after Open has read the log.
func (b *stateBudget) count() {
	b.bytes.Store(0)
	b.cursorBytes.Store(0)
	for _, s := range b.log.streams.sorted() {
		s.mu.Lock()
		if s.stored.Swap(false) {
			b.countStreamLocked(s)
		}
		for _, p := range s.cursors {
			p.measureLocked()
			p.inState = true
		}
		s.mu.Unlock()
		b.log.streams.dropUnused(s)
	}
	b.log.committer.producers.Trim(b.mostRuns())
}

// admitCursorLocked counts a new cursor, or returns the error that rejects it. The limit for destinations is higher
// than for other names by half, so that a destination can be added to a log whose streams fill the state. Before the
// first event of its stream a cursor is stored only while half of the state is free. It is called with the stream's mu
// held.
func (b *stateBudget) admitCursorLocked(p *Cursor) error {
	before, most := b.bytes.Load(), b.most()*3/2
	stored := p.stream.stored.Load()
	if !stored {
		most = b.most() / 2
	}
	p.measureLocked()
	if p.inState = before+p.pages <= most; p.inState {
		return nil
	}
	b.bytes.Add(-p.pages)
	b.cursorBytes.Add(-p.pages)
	p.pages = 0
	if !stored {
		return nil // its first event is rejected, if that has no room
	}
	rejected := &StateError{Stream: p.stream.name, Destination: p.name, Used: before, Max: most}
	b.noteFull(rejected)
	return rejected
}

// stateFullFor is how long a log reports that names were rejected.
const stateFullFor = time.Minute

// noted holds the time of the last observation.
type noted struct{ at atomic.Pointer[time.Time] }

// since reports whether the last observation was less than d ago.
func (n *noted) since(now time.Time, d time.Duration) bool {
	at := n.at.Load()
	return at != nil && now.Sub(*at) < d
}

// noteFull is called when a name is rejected. It logs the first of several rejections.
func (b *stateBudget) noteFull(rejected *StateError) {
	now := time.Now()
	if b.full.at.Swap(&now) == nil {
		b.log.opts.Logger.Error("new names rejected: log state at its limit; raise max_size, or use fewer streams and producers",
			"error", rejected, "state_bytes", rejected.Used, "max_state_bytes", rejected.Max)
	}
}

// endFull logs that no name was rejected for stateFullFor.
func (b *stateBudget) endFull(now time.Time) {
	at := b.full.at.Load()
	if at != nil && now.Sub(*at) >= stateFullFor && b.full.at.CompareAndSwap(at, nil) {
		b.log.opts.Logger.Info("new names no longer rejected", "state_bytes", b.bytes.Load(), "max_state_bytes", b.most())
	}
}
