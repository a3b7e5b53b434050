package wal

import (
	"errors"
	"fmt"
	"time"

	"github.com/standpipe/standpipe/wal/internal/dirlock"
	"github.com/standpipe/standpipe/wal/internal/producer"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

var (
	// ErrClosed is returned by every call after Close, and by an append that Close ended before it was stored.
	ErrClosed = segment.ErrClosed

	// ErrFailed is wrapped by every append after a commit whose outcome is unknown: a sync failed, or there was another
	// error after the meta page may have been written. The Log does not recover from it. Only an append that was part
	// of that commit may have been stored nevertheless.
	ErrFailed = errors.New("wal: the log has failed")

	// ErrFull is wrapped by an append for which there are too few free bytes, under MaxSize or on the disk. Nothing of
	// it was stored. Appends succeed again after segments have been truncated.
	ErrFull = errors.New("wal: the log is full")

	// ErrTooLarge is wrapped by an append that may not fit even an empty log: one of more than three fifths of MaxSize,
	// less 128 KiB, including the framing of its events. It is also wrapped by an append of more than 64 MiB, or of
	// more than its stream's Policy.MaxSize. It does not depend on the log's content. Nothing was stored, and a retry
	// fails too.
	ErrTooLarge = errors.New("wal: the append is too large")

	// ErrChainBroken is returned by an append whose Chain has failed at an earlier append.
	// Nothing of it was stored.
	ErrChainBroken = errors.New("wal: an earlier append of this chain was not stored")

	// ErrSequence is wrapped by an append whose producer sequence neither continues nor repeats the stored sequences.
	// Nothing of it was stored.
	ErrSequence = producer.ErrSequence

	// ErrCursorOpen is wrapped by Log.OpenCursor for a cursor that is open: it has one owner at a time. Cursor.Close
	// ends the ownership.
	ErrCursorOpen = errors.New("wal: cursor already open")

	// ErrUnsettled is wrapped by Cursor.Settle for a settlement that counts events and moves no lane: the events would
	// no longer be pending, and after a restart they would be settled again. Nothing of it was recorded.
	ErrUnsettled = errors.New("wal: settlement moves no lane")

	// ErrOvercounted is wrapped by Cursor.Settle for a settlement that counts more than is pending. Its progress and
	// its state took effect; its counts only up to the pending events and bytes.
	ErrOvercounted = errors.New("wal: settlement counts more than is pending")

	// ErrStateFull is wrapped by an append of a stream or producer that is new to the log, and by Log.OpenCursor for a
	// destination that is new to a stream. The log's state has no room for another name (see Stat.StateBytes). Nothing
	// was stored. Names that are part of the state are not affected.
	ErrStateFull = errors.New("wal: the log has no room for another name")

	// ErrLocked is wrapped by Open when another process holds the data directory.
	ErrLocked = dirlock.ErrLocked
)

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

// SequenceError is an ErrSequence with its numbers.
type SequenceError = producer.SequenceError
