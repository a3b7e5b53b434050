package ranged

import (
	"context"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// Sink is a destination that takes ranges. Except for Shape, which may be called at any time and from any goroutine, its
// methods are called one after another. A method with a context returns soon after the context has ended. The sink limits the
// time of its requests itself: a context ends when the agent stops, or when the events of the range are to be dropped.
//
// A range goes through Add, one or more times, then Seal, then Commit until it succeeds. Abort ends it before that.
type Sink interface {
	// Shape has the limits of single events, for listeners, and the billing steps. Only Framing, Envelope, MaxRecord,
	// KeyCounts, HeaderBytes, BilledStep and UnitStep apply.
	Shape() shipper.Shape

	// Recover returns the offset of the first event that the destination does not hold. The result is from, the first
	// offset that is not settled, or greater if a range was delivered and its settlement is not in the log. The argument
	// state is the state that was last stored with the cursor, or nil. Recover is called before the first Add, and again
	// after an error with Restart. It also removes the remains of a range that was not delivered. Events from from on
	// and below the result are settled as delivered.
	Recover(ctx context.Context, from uint64, state []byte) (next uint64, err *shipper.Error)

	// Add appends events to the range under way; the first one starts it. They ascend by offset, and offsets can be
	// missing between them. Add returns the number of events that are part of the range now. It is smaller than
	// len(events) only if the range is full or err is not nil; the rest is passed to another Add. The sink keeps no
	// reference to the events.
	Add(ctx context.Context, events []wal.Event) (n int, err *Error)

	// Due returns the time at which the range under way is to be sealed although it is not full. The zero time: it has
	// no such time, or is empty.
	Due() time.Time

	// Seal ends the range under way, which has events. It need not be full or due. Its result is stored with the cursor and synced before Commit;
	// nil: there is nothing to store. It does not wait for the destination.
	Seal() (state []byte)

	// Commit delivers the sealed range. An error without Restart: Commit is called again after a pause.
	Commit(ctx context.Context) (Outcome, *Error)

	// Abort discards the range under way, sealed or not, as far as the destination lets it. Nothing of it is settled.
	Abort(ctx context.Context)

	// Close releases the sink's connections and files. It is called once, after the last call of the other methods.
	Close() error
}

// Outcome is the outcome of a Commit.
type Outcome struct {
	Requests    int    // that the range took, of Add and Commit
	Records     int    // that the destination counts
	BilledBytes uint64 // bytes that the service bills
	Code        string // of the last request, for metrics; "ok" if the service has none
	State       []byte // stored with the cursor in the step that settles the range; nil: unchanged

	// Sync: the settlement is on the disk before the next range begins. For destinations that do not recognize a range that
	// is delivered again after a crash.
	Sync bool
}

// Error is a failure of Add or Commit.
type Error struct {
	shipper.Error

	// Restart: the range cannot be continued. Abort is called, then Recover, and the events that are not settled are
	// added again.
	Restart bool

	// Rejected lists events that the destination rejects for good, with the reason. It implies Restart. They become
	// dead letters and are settled before Recover, so that the next range does not have them. At least one of them is
	// an event of the range or of the rejected Add.
	Rejected []Rejection
}

// Rejection is an event that a destination rejects for good.
type Rejection struct {
	Offset uint64
	Reason string // never a payload
}
