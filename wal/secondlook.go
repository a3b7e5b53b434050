package wal

import (
	"fmt"
	"time"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// readPatience is how long the log retries reads of an unreadable part before the part counts as damaged. A bad sector
// must not stop a destination for ever, and a short failure of the disk must cost no event.
const readPatience = time.Minute

// failingRead is the position at which a segment cannot be read, and the time of the first failure.
type failingRead struct {
	since  time.Time
	stream string
	offset uint64
}

// overdue handles err, the outcome of a read of seg that has reached offset of a stream. It returns err, or a
// CorruptError if err is an I/O error that has lasted for readPatience. A shortage never becomes a CorruptError,
// however long it lasts.
func (d *damage) overdue(seg *segmentFile, stream string, offset uint64, err error) error {
	failing := seg.failing.Load()
	switch {
	case !segment.Unread(err) && !disk.Shortage(err):
		if failing != nil && failing.stream == stream && failing.offset < offset && seg.failing.CompareAndSwap(failing, nil) {
			d.log.opts.Logger.Info("segment can be read again", "segment", seg.path, "after", time.Since(failing.since))
		}
		return err
	case failing == nil:
		if seg.failing.CompareAndSwap(nil, &failingRead{time.Now(), stream, offset}) {
			d.log.opts.Logger.Warn("segment cannot be read; trying again", "segment", seg.path, "stream", stream, "offset", offset, "error", err)
		}
		return err
	case !segment.Unread(err) || time.Since(failing.since) < d.log.opts.readPatience:
		return err
	}
	return &CorruptError{File: seg.path, Stream: stream, Offset: offset, Reason: fmt.Sprintf("not readable for %s: %v", time.Since(failing.since).Round(time.Second), err)}
}
