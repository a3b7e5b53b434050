package wal

import (
	"os"
	"path/filepath"
)

// startTruncating has what nobody needs any more unlinked, beside the committer.
func (l *Log) startTruncating() {
	if l.truncating.Swap(true) {
		return // it has not begun
	}
	l.chores.add(func() {
		l.truncating.Store(false)
		l.truncate()
		l.startRewriting()
	})
}

// truncate unlinks every sealed segment with whose events all destinations are done, as far as
// the disk knows. Not only the oldest: a destination that is stuck holds its own events, not what
// other streams have appended after them.
func (l *Log) truncate() {
	settled := l.settledSegments()
	for _, s := range settled {
		if err := s.remove(os.Remove); err != nil {
			l.opts.Logger.Warn("a settled segment could not be unlinked", "segment", s.path, "error", err)
			continue
		}
		l.mu.Lock()
		l.sealed -= s.size
		l.mu.Unlock()
		if err := l.lock.sync(); err != nil {
			l.opts.Logger.Warn("unlink was not synced", "error", err)
		}
		l.opts.Logger.Debug("segment truncated", "segment", filepath.Base(s.path))
	}
	if len(settled) > 0 {
		poke(l.committer.wake) // appends may wait for the room
	}
}

// settledSegments takes the segments that nobody needs any more out of the log.
func (l *Log) settledSegments() (settled []*segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held.Load() > 0 {
		return nil // the next checkpoint tries again
	}
	sealed := len(l.sealedLocked())
	kept := l.segments[:0]
	for i, s := range l.segments {
		if i < sealed && l.settledLocked(s) {
			settled = append(settled, s)
			continue
		}
		kept = append(kept, s)
	}
	clear(l.segments[len(kept):])
	l.segments = kept
	return settled
}

// sealedLocked returns the segments before the newest, and while that has not begun without the one before it,
// which has the log's state.
func (l *Log) sealedLocked() []*segment {
	last := len(l.segments) - 1
	if l.segments[last].bare {
		last--
	}
	return l.segments[:max(last, 0)]
}

func (l *Log) settledLocked(s *segment) bool {
	for name, sp := range s.spans {
		if l.streams[name].low() < sp.next {
			return false
		}
	}
	return true
}

// low returns the first offset that some destination still needs after a crash. A stream without a
// destination keeps everything that it need not drop.
func (s *stream) low() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	low := s.next
	if len(s.places) == 0 {
		low = s.floor.Offset()
	}
	for _, p := range s.places {
		p.mu.Lock()
		low = min(low, p.low)
		p.mu.Unlock()
	}
	return low
}
