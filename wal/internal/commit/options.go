package commit

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/roll"
	"github.com/standpipe/standpipe/wal/internal/segment"
	"github.com/standpipe/standpipe/wal/internal/truncate"
)

// Options are the dependencies and settings of a Committer. All fields but the last must be set.
type Options struct {
	Segments  *liveset.Set
	Capacity  *capacity.Capacity
	Roller    *roll.Roller
	Truncator *truncate.Truncator
	Streams   Streams
	Cursors   Cursors
	Budgets   Budgets

	OnFull       func() bounds.OnFull
	Linger       time.Duration // the longest wait of a batch for others that share its commit, unless it has its own
	ProducerIdle time.Duration // a producer that sends nothing for this long is evicted
	Logger       hclog.Logger
	Clock        func() time.Time
	ClockEvenFor func(d time.Duration) bool // reports whether Clock has run evenly for at least d
	Closing      <-chan struct{}            // closed when the log closes
	Failed       func() error               // why the log has failed; nil: it has not
	Fail         func(error)                // makes the log fail
	BeginState   func(tx *bolt.Tx) error    // writes the present state into an empty segment, without the producers
	DropOldest   func()                     // called when an append waits because the log is full

	Committed                 func(Info)   // called after every commit that held events; nil: none
	BeforeCommit, AfterCommit func() error // make a commit fail: before it happened, and after it happened
}

// Streams are the streams of the log.
type Streams interface {
	// Pin returns the stream of that name, makes it if it is new, and keeps it until Unpin.
	Pin(name string) Stream
	// NewBytes returns the bytes that the first event of the stream adds to the state; 0: the stream is part of it.
	NewBytes(name string) int64
	// Needs reports whether some destination has not settled all events of the stream's run.
	Needs(name string, run segment.Run) bool
}

// Stream is a stream that appends are stored in.
type Stream interface {
	Name() string
	// End returns the offset of the next event, and the bytes of the payloads of all events before it. Grow alone changes
	// them.
	End() (next, bytes uint64)
	// Grow moves the end after a commit. It is called while the lock of liveset.Set is held.
	Grow(next, bytes uint64)
	Unpin()
}

// Cursors are the cursors that have moved since they were last written. They are numbered in the order of their moves.
type Cursors interface {
	// Next returns the entry of the next cursor.
	Next() Entry
	// End returns the number after the last cursor that has moved.
	End() uint64
	// Done reports whether all cursors before the number were returned by Next.
	Done(number uint64) bool
	Empty() bool
}

// Entry is the entry of a cursor in the state.
type Entry interface {
	Key() []byte
	Value() []byte
	Committed() // called when it is on the disk
	Failed()    // called when it is not: it must be written again
}

// Budgets are the budgets of the streams.
type Budgets interface {
	// Reserve reserves bytes until Release. If there are too few, it waits, drops events or returns an error, by the
	// stream's policy. The error ErrWaits: it would wait for a batch that may be stored already.
	Reserve(ctx context.Context, r *Reservation) error
	// Release ends Reserve. The run has the offsets of the events, if they were stored.
	Release(r *Reservation, run segment.Run, stored bool)
}

// Reservation is the part of a stream's budget that a batch holds.
type Reservation struct {
	Stream   string
	Bytes    int64
	Overhead int64 // of the events, in Bytes
	// Numbered is set for a batch that its producer has numbered: it may be stored already, and only the committer can find
	// that out. So Reserve leaves the rejection of such a batch to the committer, in Rejection.
	Numbered  bool
	Rejection error
	Unknown   bool   // the batch is numbered, and is not stored
	Of        Stream // whose budget it is; nil: none
}

// Reject returns err, or leaves it to the committer for a batch that may be stored already.
func (r *Reservation) Reject(err error) error {
	if !r.Numbered {
		return err
	}
	r.Rejection = err
	return nil
}
