// Package seek finds offsets of a stream by the times of its events, with a read of one block for each halving of the range. It
// holds nothing and settles nothing, and expects that the times of a stream ascend: where they do not, it finds some place
// at which they pass the wanted time.
package seek

import "github.com/standpipe/standpipe/wal"

// Log is the interface to the log; a *wal.Log is one, and a wal.History.
type Log interface {
	Read(stream string, from uint64, lanes wal.LaneSet, limit int) (wal.Chunk, error)
}

// FirstSince returns the lowest offset, up to end, from which on all readable events are of that time or later, if the times
// ascend. since is in Unix nanoseconds. It searches by halves, with a read for each. Parts that cannot be read count as later.
func FirstSince(log Log, stream string, since int64, end uint64) uint64 {
	low := uint64(1)
	for high := end; low < high; {
		middle := low + (high-low)/2
		chunk, err := log.Read(stream, middle, wal.AllLanes, 1)
		if err != nil || len(chunk.Events) == 0 || chunk.Events[0].Offset >= high {
			high = middle // nothing is left between
			continue
		}
		if e := &chunk.Events[0]; e.Time < since {
			low = e.Offset + 1
		} else {
			high = middle
		}
	}
	return low
}
