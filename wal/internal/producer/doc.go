// Package producer recognizes batches that a producer sends again, so that the log stores each numbered batch once.
//
// # Contract
//
// A producer numbers its events from 1 and gives each batch the number of its first event, the sequence. Recognize
// reports a batch whose sequences are stored already, with its offset if that is still known. It rejects a batch that
// leaves sequences out (ErrSequence).
//
// Store records a batch that is about to be committed, in a Changes of the commit. The commit writes a note of the batch
// with its events (segment.Note), and Put writes the entries of new producers within the same transaction. Stored ends the
// changes of a commit. If the commit fails, Undo restores the producers as they were. After a start, Load restores them from
// the state of the newest segment, and Replay adds the batches that the segment has notes of.
//
// # Assumptions
//
// One goroutine at a time uses a Set: the leader of the committer, and Open before that. Set has no lock. It adds the
// bytes that its entries take of the log's state to a counter that other goroutines read.
//
// # Limits
//
// A set keeps 8,192 producers, and for a while twice as many. Those that have sent nothing for the longest time are
// evicted first, and those that are idle for the configured time. A producer keeps 256 runs of batches, and fewer when
// all producers together take their part of the state; an older batch is recognized, but its offset is unknown.
package producer
