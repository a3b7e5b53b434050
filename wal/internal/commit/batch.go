package commit

import (
	"time"

	"github.com/standpipe/standpipe/wal/internal/receipt"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Batch is the content of one append, which stores all of it or nothing.
type Batch struct {
	Stream string
	Events []segment.Event // at least one

	// ProducerID and ProducerSequence, when both are set, identify the batch: if it is sent again, it is still stored
	// once. Sequences start at 1 and rise by the number of events.
	ProducerID       string
	ProducerSequence uint64

	// ProducerNext, when set, is the sequence that follows the batch, of a producer that leaves out sequences: the events
	// have some of the sequences from ProducerSequence up to ProducerNext, ascending, and the batch may begin after the
	// stored sequences. It is a duplicate if ProducerNext is not after the stored sequences. A batch that lies on both
	// sides of their end is rejected, with that end in the SequenceError.
	ProducerNext uint64

	// Awaited is set if the submitting goroutine calls Ticket.Wait next, with no other work in between. Then Wait may
	// commit the batch itself, and the committer need not do so earlier. Append works this way without it.
	Awaited bool

	// Linger is the longest wait of the batch for others that share its commit; 0: Options.Linger.
	Linger time.Duration

	// Rejection, when set, is the error with which the batch is rejected, unless it repeats a stored batch: its producer
	// gets the position of that, since nothing is stored.
	Rejection error

	// Receipt, when its owner is set, is kept from the commit of the batch on, until Receipts.Discard.
	Receipt receipt.Receipt

	// Chain, when set, ties this append to the earlier ones of the same chain: once one of them was not stored, no
	// later one is stored.
	Chain *Chain
}

// Chain keeps a pipeline of appends in order: after the first append that is not stored, every later one of the chain
// fails with ErrChainBroken. The zero value is ready. Only one goroutine at a time may submit appends of a chain.
type Chain struct {
	broken  bool // owned by the committer's leader
	stopped bool // owned by the submitting goroutine
}

// Appended is the position of a stored batch.
type Appended struct {
	First     uint64 // the stream's offset of the first event
	Count     int
	Duplicate bool // the batch had been stored before; First is its old offset, or 0 if that is unknown
}

const (
	// SoonInterval is the default of the longest time until a settlement is synced, and that of other changes of a cursor.
	SoonInterval = 250 * time.Millisecond
	// AtOnce is for changes that operators wait for, and for the first entry of a cursor.
	AtOnce = time.Nanosecond
	// CountsInterval is that of the counts of failed requests.
	CountsInterval = time.Minute
)

// Info describes a commit.
type Info struct {
	Events   int
	Bytes    int64 // of the blocks
	Duration time.Duration
}
