// Package ranged ships a stream to destinations that confirm a range of consecutive events as a whole: an object of an
// object store, a transaction, the counts of an interval, a request that repeats an earlier one.
//
// The package shipper sends batches, and settles each record by the response to its batch. A range can be far larger
// than a batch, and than memory: its events go to the sink as they are read from the log, and none of them is settled
// before the whole range is delivered. The log is the only spool.
//
// # Contract
//
// Events go to the sink in the order of their offsets. At any time there is at most one range under way. All events of a
// range are settled in one step after Commit has returned without an error. Before Commit, the state of the sealed range
// is on the disk, so that after a crash the sink can find out whether the range was delivered. A destination that can do
// so gets each event exactly once.
package ranged
