package intake

import (
	"context"

	"github.com/standpipe/standpipe/wal"
)

// Log is the interface to the WAL.
type Log interface {
	// Submit hands b to the WAL and returns without waiting for the disk, unless the WAL holds so many uncommitted bytes
	// that it must wait. It keeps no reference to b or anything in it. Batches of one goroutine are stored in the order
	// of their submission. An error means that nothing is stored; it may wrap ErrNoStream or ErrTooManyStreams as those
	// of Streams.Lookup do.
	Submit(ctx context.Context, b *wal.Batch) (Ticket, error)
	// WaitSettled waits until every destination of the stream has settled the events of a, and
	// reports whether all of them were delivered.
	WaitSettled(ctx context.Context, stream string, a wal.Appended) (delivered bool, err error)
	// Receipts returns the receipts of an owner.
	Receipts(owner string) []wal.Receipt
	// DiscardReceipts discards receipts of an owner: those with the IDs, or all if there are none. It returns without waiting for the
	// disk, and follows the batches that the goroutine has submitted before.
	DiscardReceipts(owner string, ids ...uint64) (Ticket, error)
	// Full reports whether appends are rejected or wait because the WAL is full.
	Full() bool
}

// Ticket stands for a batch on its way to the disk.
type Ticket interface {
	Done() <-chan struct{}
	// Result may be called once Done is closed.
	Result() (wal.Appended, error)
	// Wait waits for Done. When ctx ends first and the batch has not been begun, it is withdrawn:
	// ctx's error is returned and nothing is stored.
	Wait(ctx context.Context) (wal.Appended, error)
	// Hurry ends the wait of the batch for others that share its commit.
	Hurry()
}

// FromWAL returns l as a Log.
func FromWAL(l *wal.Log) Log { return walLog{l} }

type walLog struct{ *wal.Log }

func (l walLog) Submit(ctx context.Context, b *wal.Batch) (Ticket, error) {
	t, err := l.Log.Submit(ctx, b)
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (l walLog) Receipts(owner string) []wal.Receipt { return l.Log.Receipts().Of(owner) }

func (l walLog) DiscardReceipts(owner string, ids ...uint64) (Ticket, error) {
	t, err := l.Log.Receipts().Discard(owner, ids...)
	if err != nil {
		return nil, err
	}
	return t, nil
}
