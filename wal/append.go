package wal

import (
	"context"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/commit"
)

// The names of an append belong to the committer. They are part of this package's API.

// Batch is the content of one append, which stores all of it or nothing.
type Batch = commit.Batch

// Chain keeps a pipeline of appends in order: after the first append that is not stored, every later one of the chain
// fails with ErrChainBroken. The zero value is ready. Only one goroutine at a time may submit appends of a chain.
type Chain = commit.Chain

// Ticket is a batch on its way to the disk.
type Ticket = commit.Ticket

// Appended is the position of a stored batch.
type Appended = commit.Appended

// CommitInfo describes a commit.
type CommitInfo = commit.Info

// CheckpointInterval is the default of Options.CheckpointInterval.
const CheckpointInterval = commit.SoonInterval

// OnFull is the handling of an append when the log is full.
type OnFull = bounds.OnFull

// A full log rejects the append, lets it wait for free bytes, or drops the oldest events.
const (
	Reject     = bounds.Reject
	Block      = bounds.Block
	DropOldest = bounds.DropOldest
)

// Submit hands b to the committer and returns without waiting for the disk. It waits, until ctx ends, only while 16 MiB
// of appends are under way, or while the stream's own budget is full under Block or DropOldest. Batches that one
// goroutine submits are stored in that order. The log keeps no reference to b.
//
// Errors: ErrClosed; ErrFailed; ErrChainBroken; ErrSequence; ErrTooLarge; ErrFull if the stream's budget is full; the
// error of ctx; an error for a batch beyond the other limits. After each of them nothing was stored.
func (l *Log) Submit(ctx context.Context, b *Batch) (*Ticket, error) {
	return l.committer.Submit(ctx, b, b.Awaited)
}

// Append stores b and returns once it is synced. Its errors are those of Submit and Ticket.Wait, and ErrFull,
// ErrChainBroken and ErrSequence, after which nothing was stored. The text of an ErrFailed states whether the outcome
// is known.
func (l *Log) Append(ctx context.Context, b *Batch) (Appended, error) {
	t, err := l.committer.Submit(ctx, b, true)
	if err != nil {
		return Appended{}, err
	}
	return t.Wait(ctx)
}
