package shipper

import (
	"time"

	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// Source is the log that a shipper reads; a *wal.Log is one. Its methods may be called from any goroutine.
type Source interface {
	// Read returns the stream's events of the given lanes from offset from on, ascending, until they take about limit
	// bytes of memory. Every event of those lanes below Chunk.Next is in the chunk, or is not in the log: the caller may
	// settle up to there. Read may wait for the disk. The error of an unreadable part is a *wal.CorruptError.
	Read(stream string, from uint64, lanes wal.LaneSet, limit int) (wal.Chunk, error)

	// Next returns the offset of the stream's next event. It never decreases, and Read finds every event below it.
	Next(stream string) uint64

	// Grown returns a channel that is closed when the stream has more events than at the call. To miss none, call it
	// before Next or Read.
	Grown(stream string) <-chan struct{}

	// Flow returns the bytes of all payloads that were appended to any stream since the log was opened.
	Flow() uint64
	// Appended counts the events that were ever appended to the stream.
	Appended(stream string) wal.Count

	// Full reports whether appends wait, or are rejected, for lack of space. Drops are urgent then.
	Full() bool
	// Stat returns the size of the log and its limit.
	Stat() wal.Stat
}

// Cursor is a destination's position in its stream; a *wal.Cursor is one. A shipper is its only owner from New until
// Ended is closed.
type Cursor interface {
	Stream() string
	Name() string // the destination's

	// Lanes returns the progress that the owner starts from.
	Lanes() [wal.Lanes]wal.Progress

	// Settle applies one step: the new progress of lanes, and the events that end with it, which leave the ledger's
	// pending in the same step. It changes memory and returns at once; the log writes all of a step, or nothing, later.
	// Steps reach the disk in the order of the calls. It may change step.Lanes, and does not keep them. An error means that the step's counts contradict the ledger: a
	// fault of the caller.
	Settle(step wal.Settlement) error

	// Lose gives up a part that Read found corrupt. from is the Next of the chunk that the failed Read returned, and held
	// are the events that the owner holds at the call. The returned function may wait for the disk, and the owner reads
	// nothing until it returns. It counts the lost events as dropped, and notes them in Lanes. It returns the offset for
	// the next Read.
	Lose(corrupt *wal.CorruptError, from uint64, held *wal.Held) func() (next uint64, err error)

	// Floor returns the offset below which events are to be dropped. It never decreases.
	Floor() wal.Floor

	// Stat returns the ledger.
	Stat() wal.CursorStat

	// Keep makes f get the State of each Settlement once the commit that has it is synced.
	Keep(f func(state []byte))
}

// DeadLetterQueue stores events that a destination rejects for good.
type DeadLetterQueue interface {
	// Put returns nil once the dead letter is synced.
	Put(d deadletter.Letter) error
}

// Observer counts requests, which no ledger does. Its methods are called by the shipper's goroutine and must return at
// once.
type Observer interface {
	// Request: a request ended with the given code after d.
	Request(code string, d time.Duration)
	// Retried: records will be sent again for the given reason.
	Retried(reason string, records int)
}

type noObserver struct{}

func (noObserver) Request(string, time.Duration) {}
func (noObserver) Retried(string, int)           {}
