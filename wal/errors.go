package wal

import (
	"errors"

	"github.com/standpipe/standpipe/wal/internal/commit"
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
	ErrFailed = commit.ErrFailed

	// ErrFull is wrapped by an append for which there are too few free bytes, under MaxSize or on the disk. Nothing of
	// it was stored. Appends succeed again after segments have been truncated.
	ErrFull = commit.ErrFull

	// ErrTooLarge is wrapped by an append that may not fit even an empty log: one of more than three fifths of MaxSize,
	// less 128 KiB, including the framing of its events. It is also wrapped by an append of more than 64 MiB, or of
	// more than its stream's Policy.MaxSize. It does not depend on the log's content. Nothing was stored, and a retry
	// fails too.
	ErrTooLarge = commit.ErrTooLarge

	// ErrChainBroken is returned by an append whose Chain has failed at an earlier append.
	// Nothing of it was stored.
	ErrChainBroken = commit.ErrChainBroken

	// ErrSequence is wrapped by an append whose producer sequence neither continues nor repeats the stored sequences.
	// Nothing of it was stored.
	ErrSequence = producer.ErrSequence

	// ErrCursorOpen is wrapped by Log.OpenCursor for a cursor that is open: it has one owner at a time. Cursor.Close
	// ends the ownership.
	ErrCursorOpen = errors.New("wal: cursor already open")

	// ErrNotParked is wrapped by Cursor.Forget for a cursor that is not parked: its destination may be configured.
	ErrNotParked = errors.New("wal: cursor not parked")

	// ErrUnsettled is wrapped by Cursor.Settle for a settlement that counts events and moves no lane: the events would
	// no longer be pending, and after a restart they would be settled again. Nothing of it was recorded.
	ErrUnsettled = errors.New("wal: settlement moves no lane")

	// ErrOvercounted is wrapped by Cursor.Settle for a settlement that counts more than is pending. Its progress and
	// its state took effect; its counts only up to the pending events and bytes.
	ErrOvercounted = errors.New("wal: settlement counts more than is pending")

	// ErrStateFull is wrapped by an append of a stream or producer that is new to the log, and by Log.OpenCursor for a
	// destination that is new to a stream. The log's state has no room for another name (see Stat.StateBytes). Nothing
	// was stored. Names that are part of the state are not affected.
	ErrStateFull = commit.ErrStateFull

	// ErrLocked is wrapped by Open when another process holds the data directory.
	ErrLocked = dirlock.ErrLocked
)

// FullError is an ErrFull with its numbers.
type FullError = commit.FullError

// StateError is an ErrStateFull with the name that was rejected and the numbers.
type StateError = commit.StateError

// SequenceError is an ErrSequence with its numbers.
type SequenceError = producer.SequenceError
