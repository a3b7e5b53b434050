package wal

import (
	"errors"
	"fmt"
	"time"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

var (
	// ErrClosed is returned by every call after Close, and by an append that Close overtook.
	// Such an append was not stored.
	ErrClosed = errors.New("wal: the log is closed")

	// ErrFailed is wrapped by every append after a commit whose outcome is unknown: a sync that
	// failed, or an error once the meta page may have been written. It stays for the life of the
	// Log. Only an append that was part of that commit may have been stored nevertheless.
	ErrFailed = errors.New("wal: the log has failed")

	// ErrFull is wrapped by an append for which there is no room, by MaxSize or on the disk.
	// Nothing of it was stored. Appending resumes when segments have been truncated.
	ErrFull = errors.New("wal: the log is full")

	// ErrTooLarge is wrapped by an append of more than three fifths of MaxSize, less 128 KiB, including the framing of its
	// events: that may not fit even an empty log; and by one of more than 64 MiB. It does not depend on the log's content.
	// Nothing of it was stored, and trying again is of no use.
	ErrTooLarge = errors.New("wal: the append is too large")

	// ErrChainBroken is returned by an append whose Chain has failed at an earlier append.
	// Nothing of it was stored.
	ErrChainBroken = errors.New("wal: an earlier append of this chain was not stored")

	// ErrSequence is wrapped by an append whose producer sequence neither continues nor repeats
	// what is stored. Nothing of it was stored.
	ErrSequence = errors.New("wal: producer sequence out of order")

	// ErrCursorOpen is wrapped by Log.Place for a place that is open: it has one owner at a time. Park ends that.
	ErrCursorOpen = errors.New("wal: place already open")

	// ErrUnsettled is wrapped by Place.Settle for a settlement that counts events and moves no mark: the events would leave
	// pending, and after a restart they would be settled again. Nothing of it was recorded.
	ErrUnsettled = errors.New("wal: settlement moves no mark")

	// ErrOvercounted is wrapped by Place.Settle for a settlement that counts more than is pending. Its marks and its state
	// took effect; its counts only up to the pending events and bytes.
	ErrOvercounted = errors.New("wal: settlement counts more than is pending")

	// ErrStateFull is wrapped by an append of a stream or producer that is new to the log, and by Place for a destination
	// that is new to a stream, when the log's state has no room for another name (see State). Nothing was stored.
	// Names that the log knows are not affected.
	ErrStateFull = errors.New("wal: the log has no room for another name")

	// ErrDeadFull is wrapped by Bury when the file of the dead letters has no room for the letter. Nothing was stored.
	// There is some when letters were dropped, or, below its bound, when the log has room again.
	ErrDeadFull = errors.New("wal: the dead letters are full")

	// ErrLocked is wrapped by Open when another process holds the data directory.
	ErrLocked = errors.New("wal: the data directory is in use")
)

// FullError is an ErrFull with its numbers.
type FullError struct {
	Stream     string        // whose share is full; empty: the whole log
	Used, Max  int64         // bytes; Max is 0 when the disk itself is full, or for a Shortage
	Shortage   error         // of something else than space that the commit needed; nil: of space
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

// DeadFullError is an ErrDeadFull with its numbers, in bytes.
type DeadFullError struct {
	Letter    int64 // of the letter that was rejected, about
	Used, Max int64 // the bytes that letters take of the file, and its greatest length
}

func (e *DeadFullError) Error() string {
	why := "drop or requeue some"
	if e.Letter > e.Max/2 {
		why = "it needs a larger max_size"
	}
	return fmt.Sprintf("wal: no room for a dead letter of %d bytes: %s has %d of %d bytes in use; %s", e.Letter, segment.DeadName, e.Used, e.Max, why)
}

// Is makes errors.Is(err, ErrDeadFull) hold.
func (e *DeadFullError) Is(target error) bool { return target == ErrDeadFull }

// SequenceError is an ErrSequence with its numbers.
type SequenceError struct {
	Producer  string
	Got, Want uint64
}

func (e *SequenceError) Error() string {
	return fmt.Sprintf("wal: producer %q: sequence %d, want %d", e.Producer, e.Got, e.Want)
}

// Is makes errors.Is(err, ErrSequence) hold.
func (e *SequenceError) Is(target error) bool { return target == ErrSequence }
