package segfile

import (
	"fmt"
	"time"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// ReadPatience is how long the log retries reads of an unreadable part before the part counts as damaged. A bad sector
// must not stop a destination for ever, and a short failure of the disk must cost no event.
const ReadPatience = time.Minute

// failingRead is the position at which a segment cannot be read, and the time of the first failure.
type failingRead struct {
	since  time.Time
	stream string
	offset uint64
}

// Overdue handles err, the outcome of a read that has reached offset of a stream. It returns err, or a CorruptError if
// err is an I/O error that has lasted for patience. A shortage never becomes a CorruptError, however long it lasts. It
// logs when reads begin to fail, and when they succeed again.
func (f *File) Overdue(patience time.Duration, stream string, offset uint64, err error) error {
	failing := f.failing.Load()
	switch {
	case !segment.Unread(err) && !disk.Shortage(err):
		if failing != nil && failing.stream == stream && failing.offset < offset && f.failing.CompareAndSwap(failing, nil) {
			f.logger.Info("segment can be read again", "segment", f.Path, "after", time.Since(failing.since))
		}
		return err
	case failing == nil:
		if f.failing.CompareAndSwap(nil, &failingRead{time.Now(), stream, offset}) {
			f.logger.Warn("segment cannot be read; trying again", "segment", f.Path, "stream", stream, "offset", offset, "error", err)
		}
		return err
	case !segment.Unread(err) || time.Since(failing.since) < patience:
		return err
	}
	return &segment.CorruptError{File: f.Path, Stream: stream, Offset: offset, Reason: fmt.Sprintf("not readable for %s: %v", time.Since(failing.since).Round(time.Second), err)}
}
