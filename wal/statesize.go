package wal

import (
	"sync"
	"sync/atomic"
	"time"
)

// The state is the log's record of streams with events, of their destinations and of producers. Each segment begins with
// all of it, so its size decides how small a log can be. Log.stateBytes counts the bytes of pages that it takes when it is
// written anew, Log.cursorBytes the destinations' part of that, and new names are rejected beyond maxState:
// with it a log of MaxSize has room for the newest segment, for the next one, and for any append of up to
// capacity. Known names may grow beyond the bound: destinations with the distance between their lanes. Producers don't:
// they keep fewer runs instead.

// cursorsGone are places that are to be deleted from the disk: they are parked, and nothing was ever stored in their
// streams.
type cursorsGone struct {
	mu   sync.Mutex
	keys [][]byte
}

// park takes the place, which is parked, out of the state until its stream has an event.
func (g *cursorsGone) park(p *Cursor) {
	p.stream.mu.Lock()
	defer p.stream.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.kept || p.opened || p.stream.stored.Load() {
		return
	}
	p.log.stateBytes.Add(-p.pages)
	p.log.cursorBytes.Add(-p.pages)
	p.kept, p.pages = false, 0
	g.mu.Lock()
	g.keys = append(g.keys, stateKey(stateCursor, p.stream.name, p.name))
	g.mu.Unlock()
	p.log.touch()
}

// take returns the added keys, each once.
func (g *cursorsGone) take() (keys [][]byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	keys, g.keys = g.keys, nil
	return keys
}

// maxState bounds the state that new names may add to. A segment's map has room for four times that. The state is in a log
// up to three times, so the bytes held for dead letters lower the bound by a third of their number. Where the volume has
// less than MaxSize for the log, its bytes count instead of MaxSize.
func (l *Log) maxState() int64 {
	most := min(l.opts.MaxSize/8-l.capacity.deadHeld()/3, newestAhead()/4)
	if volume := l.capacity.volume.Load(); volume > 0 {
		most = min(most, max(volume, MinMaxSize)/8)
	}
	return most
}

// maxRuns bounds the part of the state that producers' runs may take.
func (l *Log) maxRuns() int64 { return l.maxState() / 2 }

// entryPages returns the bytes that an entry of the state takes of its bucket's pages. A page that is full lacks up to one
// entry; a large one may have half of its pages to itself.
func entryPages(key, value int) int64 {
	n := int64(key + value + stateSumLength + stateElement)
	return n + min(n*n, 2048*2048)/2048
}

// nameLength is how long a name is in a key.
func nameLength(name string) int { return 2 + len(name) }

const (
	// streamNumbers and producerNumbers are the lengths of the values of a stream and of a producer without runs.
	streamNumbers   = 12
	producerNumbers = 5 + 10 + 2
	// runNumbers is the length that a producer's first run is reckoned with.
	runNumbers = 12
)

func streamPages(name string) int64 { return entryPages(1+nameLength(name), streamNumbers) }

func producerPages(key producerKey, value int) int64 {
	return entryPages(1+nameLength(key.stream)+nameLength(key.id), value)
}

// resizeLocked notes the place's share of the state. It is called with p.mu held.
func (p *Cursor) resizeLocked(value int) {
	pages := entryPages(1+nameLength(p.stream.name)+nameLength(p.name), value)
	p.log.stateBytes.Add(pages - p.pages)
	p.log.cursorBytes.Add(pages - p.pages)
	p.pages = pages
}

// measureLocked is resizeLocked for a place that is not being written. It is called with p.mu held.
func (p *Cursor) measureLocked() { p.resizeLocked(len(p.appendLocked(nil))) }

// pagesOf returns the bytes that the stream and its places add to the state with the first event.
func (s *stream) pagesOf() (pages int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.cursors {
		p.mu.Lock()
		if !p.kept {
			pages += entryPages(1+nameLength(s.name)+nameLength(p.name), len(p.appendLocked(nil)))
		}
		p.mu.Unlock()
	}
	return pages + streamPages(s.name)
}

// keepLocked notes that the stream has an event: from here on it and its places are part of the state. It is called
// with s.mu held.
func (l *Log) keepLocked(s *stream) {
	if s.stored.Swap(true) {
		return
	}
	l.stateBytes.Add(streamPages(s.name))
	l.born.wake()
	for _, p := range s.cursors {
		p.mu.Lock()
		if !p.kept {
			p.kept = true
			p.dirtyLocked()
			p.measureLocked()
			l.touch()
		}
		p.mu.Unlock()
	}
}

// countState notes the size of the state once the log has been read.
func (l *Log) countState() {
	l.stateBytes.Store(0)
	l.cursorBytes.Store(0)
	for _, s := range l.sortedStreams() {
		s.mu.Lock()
		if s.stored.Swap(false) {
			l.keepLocked(s)
		}
		for _, p := range s.cursors {
			p.measureLocked()
			p.kept = true
		}
		s.mu.Unlock()
		l.dropUnused(s)
	}
	l.committer.producers.trimRuns()
}

// admitCursorLocked counts a new place, or returns the error that rejects it: destinations may take half as much again as
// other names, so that one can be added to the streams that there are. In a stream without events it is stored only
// while there is plenty of room, until the first event. It is called with the stream's mu held.
func (l *Log) admitCursorLocked(p *Cursor) error {
	before, most := l.stateBytes.Load(), l.maxState()*3/2
	stored := p.stream.stored.Load()
	if !stored {
		most = l.maxState() / 2
	}
	p.measureLocked()
	if p.kept = before+p.pages <= most; p.kept {
		return nil
	}
	l.stateBytes.Add(-p.pages)
	l.cursorBytes.Add(-p.pages)
	p.pages = 0
	if !stored {
		return nil // its first event is rejected, if that has no room
	}
	rejected := &StateError{Stream: p.stream.name, Destination: p.name, Used: before, Max: most}
	l.noteStateFull(rejected)
	return rejected
}

// stateFullFor is how long a log reports that names were rejected.
const stateFullFor = time.Minute

// noted is when something was last noticed.
type noted struct{ at atomic.Pointer[time.Time] }

// since reports whether it was noticed within the last d.
func (n *noted) since(now time.Time, d time.Duration) bool {
	at := n.at.Load()
	return at != nil && now.Sub(*at) < d
}

// noteStateFull notes that a name was rejected, and logs it when that begins.
func (l *Log) noteStateFull(rejected *StateError) {
	now := time.Now()
	if l.stateFull.at.Swap(&now) == nil {
		l.opts.Logger.Error("new names rejected: log state at its limit; raise max_size, or use fewer streams and producers",
			"error", rejected, "state_bytes", rejected.Used, "max_state_bytes", rejected.Max)
	}
}

// endStateFull logs that no name was rejected for a while.
func (l *Log) endStateFull(now time.Time) {
	at := l.stateFull.at.Load()
	if at != nil && now.Sub(*at) >= stateFullFor && l.stateFull.at.CompareAndSwap(at, nil) {
		l.opts.Logger.Info("new names no longer rejected", "state_bytes", l.stateBytes.Load(), "max_state_bytes", l.maxState())
	}
}
