// Package receipt keeps the receipts of batches: which batch a producer has stored under an ID that it reuses later.
//
// # Contract
//
// A batch may come with a Receipt. Put records it in a Changes of the commit that stores the batch, and Remove records that the
// receipts of a producer are discarded. Write writes the changes into the state of the segment, within the same transaction. Stored
// ends the changes of a commit. If the commit fails, Undo restores the receipts as they were. So a receipt is on the disk if
// and only if its batch is, until it is discarded; and after Remove was committed it never returns.
//
// Each segment begins with all receipts (PutAll), so the newest one alone counts when the log is opened (Load). Receipts of a
// lost segment are unknown, and those of a copied log are stale: Clear drops them. A dropped receipt can only make a batch that
// is sent again be stored again.
//
// # Assumptions
//
// One goroutine at a time uses a Set: the leader of the committer, and Open before that. Set has no lock.
//
// # Limits
//
// A set keeps 65,536 receipts, and fewer if they take more than their part of the state. The oldest ones are evicted first.
package receipt
