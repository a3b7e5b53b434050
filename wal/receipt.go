package wal

import (
	"github.com/standpipe/standpipe/wal/internal/commit"
	"github.com/standpipe/standpipe/wal/internal/receipt"
)

// Receipt states that a batch was stored, for a producer that sends it again under an ID that it reuses later. The log keeps 65,536
// receipts, and fewer if they take more than a sixty-fourth of MaxSize. It evicts the oldest ones.
type Receipt = receipt.Receipt

// Receipts gives producers the receipts of the log.
type Receipts = commit.Receipts

// Receipts returns the receipts of the log.
func (l *Log) Receipts() Receipts { return commit.NewReceipts(l.committer) }
