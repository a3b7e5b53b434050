// Package layout lays the events of a commit into blocks, so that the blocks fill bbolt's pages.
//
// # Contract
//
// Frames holds the encoded events of one batch: Encode does all of the work that needs no offset, on the goroutine of the
// submitting caller. The Frames of a large batch are complete blocks already, whose offsets count from the first event of
// the batch.
//
// A Builder lays the Frames of a commit group into blocks, stream by stream: it copies the frames of small batches, and
// moves the blocks of large ones to their offsets. Its result is every block of the commit except for the block numbers,
// in order, and the end of the last leaf.
//
// # Assumptions
//
// bbolt splits a leaf after its second block, rounds it up to whole pages, and writes the last leaf again with the next
// commit. If that changes, the blocks stay valid and use more pages.
//
// One goroutine at a time uses a Builder, and one uses a Frames. The blocks of a Builder are valid until its next Reset.
//
// # Limits
//
// A block aims at segment.BlockAim bytes of frames; one event that is longer is a block of its own. A batch of 8 blocks or
// more has blocks of its own. Buffers up to 1 MiB for a batch, and 16 MiB for a Builder, are kept for reuse.
package layout
