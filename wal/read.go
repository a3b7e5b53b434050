package wal

import "github.com/standpipe/standpipe/wal/internal/reader"

// Chunk is the result of one Read.
type Chunk = reader.Chunk

// Read copies a stream's events of the wanted lanes, from offset from on, until they take about limit bytes of memory.
// It holds no transaction when it returns, and Events belong to the caller.
//
// A block that fails its checksum ends the chunk; if it is the first, the error is a *CorruptError, and Next is the
// offset at which Cursor.Lose gives up the block. Blocks without an event of the wanted lanes are skipped unread.
//
// If the disk cannot read a block, the error is an I/O error, and the caller retries after a pause. After a minute of
// failures it is a *CorruptError too.
func (l *Log) Read(streamName string, from uint64, lanes LaneSet, limit int) (Chunk, error) {
	return l.reader.Read(streamName, from, lanes, limit)
}

// History is a log with its retained segments: see Options.Retain.
type History struct{ *Log }

// Read is Log.Read, of the retained segments too. Settled events may be gone at any time, with gaps between events that are
// still there, so a caller that needs every event compares the offsets.
func (h History) Read(streamName string, from uint64, lanes LaneSet, limit int) (Chunk, error) {
	return h.history.Read(streamName, from, lanes, limit)
}

// Yield unlinks the oldest retained segments of at least that many bytes, and returns once they are gone. It reports whether
// there were any.
func (h History) Yield(bytes int64) bool {
	return h.segments.Use().Retained > 0 && h.capacity.Release(bytes)
}
