package wal

import (
	"time"
)

// Batch is what one append stores: all of it or nothing.
type Batch struct {
	Stream string
	Events []Event // at least one

	// ProducerID and ProducerSequence, when both are set, let the log recognise a batch that is
	// sent again: it is stored once. Sequences rise by the number of events and start at 1.
	ProducerID       string
	ProducerSequence uint64

	// Awaited says that whoever submits the batch calls Ticket.Wait next, and has nothing else to do meanwhile:
	// Wait may commit it then, and nobody need do so before. Append does this by itself.
	Awaited bool

	// Chain, when set, ties this append to the earlier ones of the same chain: once one of them
	// was not stored, none that follows is.
	Chain *Chain
}

// Chain is the order-safe end of a pipeline of appends: after the first that is not stored,
// every later one of the chain fails with ErrChainBroken. The zero value is ready. Appends of
// one chain are submitted by one goroutine at a time.
type Chain struct {
	broken  bool // belongs to whoever has the committer's turn
	stopped bool // belongs to the submitter's
}

// Appended tells where a batch was stored.
type Appended struct {
	First     uint64 // the stream's offset of the first event
	Count     int
	Duplicate bool // the batch had been stored before; First is the old offset, 0 when that is forgotten
}

// OnFull is what an append meets when the log is full.
type OnFull string

// What a full log does: refuse the append, make it wait for room, or drop the oldest events.
const (
	Reject     OnFull = "reject"
	Block      OnFull = "block"
	DropOldest OnFull = "drop_oldest"
)

// CheckpointInterval is the longest that a settlement waits to be synced: after a crash, what
// was delivered within it may be delivered again.
const CheckpointInterval = 250 * time.Millisecond
