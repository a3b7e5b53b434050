package commit

import (
	"errors"
	"fmt"
	"time"
)

// The errors of package wal that a commit returns. Their comments are there.
var (
	ErrFailed      = errors.New("wal: the log has failed")
	ErrFull        = errors.New("wal: the log is full")
	ErrTooLarge    = errors.New("wal: the append is too large")
	ErrChainBroken = errors.New("wal: an earlier append of this chain was not stored")
	ErrStateFull   = errors.New("wal: the log has no room for another name")
)

// ErrWaits is returned by Budgets.Reserve in place of a wait. No caller of Submit gets it.
var ErrWaits = errors.New("wal: the stream's budget is full")

// FullError is an ErrFull with its numbers.
type FullError struct {
	Stream     string        // whose budget is full; empty: the whole log is
	Used, Max  int64         // bytes; Max is 0 when the disk itself is full, or for a Shortage
	Shortage   error         // a shortage of another resource than space; nil: of space
	RetryAfter time.Duration // a hint for the producer
}

func (e *FullError) Error() string {
	switch {
	case e.Stream != "":
		return fmt.Sprintf("wal: stream %q is full: it holds %d of %d bytes", e.Stream, e.Used, e.Max)
	case e.Shortage != nil:
		return fmt.Sprintf("wal: the append cannot be stored now: %v", e.Shortage)
	case e.Max == 0:
		return "wal: no space left on the disk"
	}
	return fmt.Sprintf("wal: the log is full: %d of %d bytes in use", e.Used, e.Max)
}

// Is makes errors.Is(err, ErrFull) hold.
func (e *FullError) Is(target error) bool { return target == ErrFull }

// StateError is an ErrStateFull with the name that was rejected and the numbers.
type StateError struct {
	Stream      string
	Producer    string // that is new; empty: the stream or the destination is
	Destination string // that is new; empty: the stream or the producer is
	Used, Max   int64  // bytes of the state
}

func (e *StateError) Error() string {
	what := fmt.Sprintf("stream %q", e.Stream)
	switch {
	case e.Producer != "":
		what = fmt.Sprintf("producer %q of stream %q", e.Producer, e.Stream)
	case e.Destination != "":
		what = fmt.Sprintf("destination %q of stream %q", e.Destination, e.Stream)
	}
	return fmt.Sprintf("wal: %s is new and rejected: the state of the log's streams, producers and destinations takes %d of %d bytes",
		what, e.Used, e.Max)
}

// Is makes errors.Is(err, ErrStateFull) hold.
func (e *StateError) Is(target error) bool { return target == ErrStateFull }
