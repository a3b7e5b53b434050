// Package ranged ships a stream to destinations that confirm a range of consecutive events as a whole: an object of an
// object store, a transaction, the counts of an interval, a request that repeats an earlier one.
//
// The package shipper sends batches, and settles each record by the response to its batch. A range can be far larger
// than a batch, and than memory: its events go to the sink as they are read from the log, and none of them is settled
// before the whole range is delivered. The log is the only spool.
//
// # Contract
//
//   - Events go to the sink in the order of their offsets. At any time there is at most one range under way.
//   - All events of a range are settled in one step after Commit has returned without an error. Before Commit, the state of the
//     sealed range is on the disk, and so are all drops and dead letters before it. So after a crash the sink can find out
//     whether the range was delivered, and a destination that can do so gets each event exactly once.
//   - A range is sealed when it is full or due, when it has all events of a log that is nearly full, when its events are to be
//     dropped, and when the agent stops.
//   - Events to be dropped (Cursor.Floor) are dropped at once if they are in no range. A range that has some is sealed, and is
//     cut off after 5 s, or after 0.5 s while the log is full. While the destination fails, it is discarded at once. The
//     destination may have stored events that count as dropped.
//   - Rejected events become dead letters, and the others of their range are read again.
//   - Finish ships the rest. Halt commits a range that is sealed already and aborts any other. Run returns at most 0.5 s after
//     its own context, or Halt's, has ended; a call that has not returned by then is left behind (shipper.ErrStuck).
//
// # Failures
//
// The class of an error decides on the delay, as in the package shipper. The failed call is repeated, or the range is discarded
// and begins again with Recover. The failures of a Commit end with a Commit that succeeds, so that the delays grow although the
// calls before it succeed.
//
// # Limits
//
// The shipper holds at most two chunks of events, of Options.ReadBytes each, or of one event that is larger. The sink holds the
// rest.
package ranged
