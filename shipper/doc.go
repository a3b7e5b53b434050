// Package shipper takes a stream's events from the log to one destination, in order, with retry,
// for as long as that takes.
//
//	wal/reader ─► feed ─► lane ─► batch ─► send ─► Sink ─► destination
//	                       ▲                 │
//	                       └── settle ◄──────┴─ results ─► wal: marks, ledger
//
// # What is promised
//
//   - Events of one key reach the destination in the order of the log, through retries, partial
//     failures and restarts. Two requests never hold events of one key at the same time, and no
//     request holds two records of one key: a failed first and a stored second would be out of order.
//     Only where a destination's order is "none" may it hold several.
//   - Only what failed is sent again. HTTP 200 is no success before every entry was looked at.
//   - A lane that is refused for a day holds back no other, and costs no memory to speak of: what
//     waits is forgotten and read again from the log when it moves.
//   - An event leaves the ledger's pending as delivered, dead or dropped, once, in the same step in
//     which its lane's mark moves past it.
//   - After a crash, what was in flight and what was delivered since the last checkpoint (at most
//     250 ms before) is sent again, nothing else.
//   - Memory is bounded by Options.Memory and the requests under way, whatever the backlog.
//
// # Lanes
//
// A lane is 1/64 of Kinesis's hash-key space and the unit of order. Its share of a batch is a
// prefix of its queue, which makes order simple: what failed is still the queue's front. When
// some records of a share failed and some did not, the settled runs beyond the first failure are
// noted in the lane's mark, in the log too; until the lane has caught up with them it sends
// nothing newer, so there is never more to note than one batch. A destination that keeps the
// order of the whole stream (a folder of files) has one lane that stands for all 64.
//
// Each lane has its own reading position. The feed reads for the lane that was served longest ago
// and for those that stand near it, and passes over blocks that hold none of their events, so a
// lane that comes back after a day catches up beside the others and takes nothing from them but
// its turn.
//
// # Other orders
//
// Where a request carries one record (Shape.BatchRecords 1, OneKey), a lane's share is the events of
// the key at its queue's front, gathered from among the next 128; those of other keys are passed over
// and stay. Each lane waits for its own company, the longest waiting goes first, and as many lanes
// as Shape.InFlight says are under way at once. Where order does not matter (Shape.AnyOrder), a batch
// holds as many records of one key as fit; lanes, results and retries are the same.
//
// # When a batch goes
//
// When it is as large as the destination's requests are worth, when a limit ended some lane's share
// (waiting would add nothing to it), when its oldest event has waited MaxDelay, when something is
// being retried, or when the agent is stopping.
//
// # Failure
//
// What a request's failure asks for is its Class, which the sink decides in one place. A request
// that fails as a whole makes the destination wait, with full jitter, and one request tries for
// all. A record that fails makes its lane wait. An operator's error is tried again every
// Retry.Max. Poison is found by halving: the suspect lane's next batch goes alone with half of its
// events, until the refusal meets a record of one event; only that event is buried. After a
// timeout, batches are halved too, since a link may be too slow for a whole one.
//
// # What is assumed
//
// A sink tells the truth about what is stored. A timeout's outcome is unknown: those records are
// sent again and may arrive twice. Amazon's services give no order across records but the order
// of acknowledged requests, which is what lanes are built on.
package shipper
