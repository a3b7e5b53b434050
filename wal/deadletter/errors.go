package deadletter

import (
	"errors"
	"fmt"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

var (
	// ErrClosed is wrapped by every call after Close.
	ErrClosed = segment.ErrClosed

	// ErrNotFound is wrapped by Get when no dead letter has the ID.
	ErrNotFound = errors.New("wal: no such dead letter")

	// ErrFull is wrapped by Put when the file has no room for the letter. Nothing was stored. There is room again after
	// letters were dropped or, below the file's limit, when the log has free bytes again.
	ErrFull = errors.New("wal: the dead letters are full")
)

// FullError is an ErrFull with its numbers, in bytes.
type FullError struct {
	Letter    int64 // the estimated length of the rejected letter
	Used, Max int64 // the bytes that letters take of the file, and the file's limit
}

func (e *FullError) Error() string {
	why := "drop or requeue some"
	if e.Letter > e.Max/2 {
		why = "it needs a larger max_size"
	}
	return fmt.Sprintf("wal: no room for a dead letter of %d bytes: %s has %d of %d bytes in use; %s", e.Letter, segment.DeadName, e.Used, e.Max, why)
}

// Is makes errors.Is(err, ErrFull) hold.
func (e *FullError) Is(target error) bool { return target == ErrFull }
