package access

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// lookEvery is the shortest time between two checks of a file.
const lookEvery = time.Second

// sources are files that are read together, and read again after one of them has changed.
type sources struct {
	paths []string
	last  atomic.Int64 // the time of the last check, in nanoseconds
	mu    sync.Mutex
	seen  []os.FileInfo // their state at the last read, also an unsuccessful one; guarded by mu
}

// newSources returns the sources of files that the caller will read now.
func newSources(paths ...string) *sources {
	s := &sources{paths: paths, seen: look(paths)}
	s.last.Store(time.Now().UnixNano())
	return s
}

// changed reports whether a file has changed since the last call that returned true. It checks the files at most once in
// lookEvery, unless must is set.
func (s *sources) changed(now time.Time, must bool) bool {
	last := s.last.Load()
	if !must && (now.UnixNano()-last < int64(lookEvery) || !s.last.CompareAndSwap(last, now.UnixNano())) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := look(s.paths)
	if slices.EqualFunc(s.seen, found, same) {
		return false
	}
	s.seen = found
	return true
}

// look returns the state of each file; nil for a missing one.
func look(paths []string) []os.FileInfo {
	found := make([]os.FileInfo, len(paths))
	for i, path := range paths {
		if info, err := os.Stat(path); err == nil {
			found[i] = info
		}
	}
	return found
}

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
