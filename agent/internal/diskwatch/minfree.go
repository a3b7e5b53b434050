package diskwatch

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/wal"
)

const (
	// spaceMargin is the part of min_free by which the free space has to exceed it before events are accepted again: else
	// each delivery would let a few events in.
	spaceMargin = 20
	// spaceRetry is the hint for producers.
	spaceRetry = 5 * time.Second
)

// space records whether the file system of the log has less free space than min_free.
type space struct {
	low atomic.Pointer[lowSpace] // nil: there is enough
}

// lowSpace is the reason for which appends are rejected.
type lowSpace struct{ free, needed int64 }

func (l *lowSpace) Error() string {
	return fmt.Sprintf("the file system has %d free bytes, and min_free leaves %d to others", l.free, l.needed)
}

// rejection returns the error for an append, or nil.
func (s *space) rejection() error {
	if low := s.low.Load(); low != nil {
		return &wal.FullError{Shortage: low, RetryAfter: spaceRetry}
	}
	return nil
}

// missing returns by how many bytes the free space falls short of min_free and the margin above it, at which retained segments are
// unlinked; 0 or less: it does not.
func missing(v wal.Volume, m config.MinFree) int64 {
	needed := m.Of(v.Size)
	if needed == 0 {
		return 0
	}
	return needed + needed/spaceMargin - v.Free
}

// update compares the free space with the setting.
func (s *space) update(v wal.Volume, m config.MinFree) {
	needed := m.Of(v.Size)
	most := needed
	if s.low.Load() != nil {
		most += needed / spaceMargin
	}
	if v.Free >= most {
		s.low.Store(nil)
		return
	}
	s.low.Store(&lowSpace{v.Free, needed})
}
