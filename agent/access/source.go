package access

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// lookEvery is the time between two looks at a file.
const lookEvery = time.Second

// sources are files that are read together, and again when one of them has changed.
type sources struct {
	paths []string
	last  atomic.Int64 // the time of the last look, in nanoseconds
	mu    sync.Mutex
	seen  []os.FileInfo // as they were when they were last read, well or not; guarded by mu
}

// newSources is for files that are about to be read for the first time.
func newSources(paths ...string) *sources {
	s := &sources{paths: paths, seen: look(paths)}
	s.last.Store(time.Now().UnixNano())
	return s
}

// changed reports whether the files are not as they were at the last call that said so. It looks once in a
// while, or when it is told to.
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

// look returns nil for a file that is not there.
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
