// Package commit makes appends and checkpoints durable: it gathers them into groups, and stores each group with one
// transaction.
//
// # Contract
//
// A Ticket is done when its batch is synced, or when nothing of it is stored. The batches of one goroutine are stored in
// the order of Submit, and a batch is stored whole. A numbered batch of a producer is stored once, however often it is
// sent.
//
// The story of one append reads downward. Submit (ticket.go) checks and encodes the batch, and enqueues it. Run or Wait
// (committer.go) leads. commitNext (commit.go) gathers, admits (admission.go), commits and responds. In between, commit
// lays the events into blocks, allocates disk space, writes, syncs and publishes.
//
// A checkpoint stores the entries of the cursors that have moved, at the latest CheckpointInterval after Touch, and deletes
// the entries that the log no longer needs. An error before the first write of a commit rejects its appends only. After
// any other error the outcome is unknown, and the log fails.
//
// A full log stays usable: when no destination needs the newest segment, the committer renews it (renew.go).
//
// # Assumptions
//
// One goroutine at a time leads. It alone changes the newest segment, the ends of the streams and the producers.
package commit
