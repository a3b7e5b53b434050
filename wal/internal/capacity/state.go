package capacity

import (
	"time"

	"github.com/standpipe/standpipe/wal/internal/segfile"
)

// MostState returns the limit of the state for new names: the log's record of streams with events, of their destinations
// and of producers. Each segment begins with all of it, so its size decides how small a log can be. With a state of that
// size, a log of MaxSize has room for the newest segment, for the next one, and for an append of LargestAppend bytes. The
// map of a segment has room for four times that.
//
// The log stores the state up to three times, so the bytes that are held for dead letters lower the limit by a third of
// their number. If the volume has fewer bytes for the log than MaxSize, those bytes count instead.
//
// The entries of known destinations may grow beyond the limit, with the distance between their lanes. The entries of
// known producers do not: they keep fewer runs instead.
func (c *Capacity) MostState() int64 {
	most := min(c.Max()/8-c.deadHeld()/3, segfile.NewestAhead()/4)
	if volume := c.volume.Load(); volume > 0 {
		most = min(most, max(volume, c.LeastSize)/8)
	}
	return most
}

// MostCursors returns the limit of the state for a new cursor. It is higher than that for other names by half, so that a
// destination can be added to a log whose streams fill the state.
func (c *Capacity) MostCursors() int64 { return c.MostState() * 3 / 2 }

// MostRuns returns the most bytes of the state that producers' runs may take.
func (c *Capacity) MostRuns() int64 { return c.MostState() / 2 }

// AddCursor counts a cursor's part of the state that has grown by that number of bytes.
func (c *Capacity) AddCursor(bytes int64) {
	c.StateBytes.Add(bytes)
	c.CursorBytes.Add(bytes)
}

// ClearState sets the size of the state to nothing, before it is counted anew.
func (c *Capacity) ClearState() {
	c.StateBytes.Store(0)
	c.CursorBytes.Store(0)
}

// stateFullFor is how long a log reports that names were rejected.
const stateFullFor = time.Minute

// StateFull reports whether a name was rejected less than a minute ago.
func (c *Capacity) StateFull(now time.Time) bool {
	at := c.rejected.Load()
	return at != nil && now.Sub(*at) < stateFullFor
}

// NoteStateFull is called when a name is rejected with err. It logs the first of several rejections.
func (c *Capacity) NoteStateFull(err error, used, most int64) {
	now := time.Now()
	if c.rejected.Swap(&now) == nil {
		c.Logger.Error("new names rejected: log state at its limit; raise max_size, or use fewer streams and producers",
			"error", err, "state_bytes", used, "max_state_bytes", most)
	}
}

// EndStateFull logs once that no name was rejected for stateFullFor.
func (c *Capacity) EndStateFull(now time.Time) {
	at := c.rejected.Load()
	if at != nil && now.Sub(*at) >= stateFullFor && c.rejected.CompareAndSwap(at, nil) {
		c.Logger.Info("new names no longer rejected", "state_bytes", c.StateBytes.Load(), "max_state_bytes", c.MostState())
	}
}
