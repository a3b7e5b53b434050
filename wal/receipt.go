package wal

import "github.com/standpipe/standpipe/wal/internal/receipt"

// Receipt states that a batch was stored, for a producer that sends it again under an ID that it reuses later. The log keeps 65,536
// receipts, and fewer if they take more than a sixty-fourth of MaxSize. It evicts the oldest ones.
type Receipt = receipt.Receipt

// Receipts returns the receipts of an owner, the oldest first. It waits for the commit under way at most.
func (l *Log) Receipts(owner string) (all []Receipt) {
	l.committer.Exclude(func() bool {
		all = l.committer.Receipts().Of(owner)
		return true
	})
	return all
}

// DiscardReceipts discards receipts of an owner: those with the IDs, or all if there are none. It returns without waiting for the disk.
// Batches that the goroutine has submitted before come first. Once the ticket is done without an error, the receipts are gone also
// after a crash. Unknown receipts are no error.
//
// Errors: ErrClosed; ErrFailed; ErrFull from the ticket if the disk is full.
func (l *Log) DiscardReceipts(owner string, ids ...uint64) (*Ticket, error) {
	return l.committer.DiscardReceipts(owner, ids...)
}
