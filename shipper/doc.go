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
// When it is as large as the destination's requests are worth or takes no more, when its oldest event
// has waited MaxDelay, when something is being retried, or when the agent is stopping. A key whose
// record in the batch is full gains nothing by waiting: then its lane goes without the others, once
// what the log has ready is read.
//
// # What it costs
//
// Where a service bills records in steps (Firehose: 5 KiB), records end just under a step. A record is
// aimed at a whole number of steps; one that nears the number of events that it may hold takes none
// that begins a step which they could not fill; and the last events of a record that has just begun
// a step stay in their lanes for the next batch (trim.go), if they are young, so that none waits
// longer than MaxDelay and the next batch is hardly sooner due. A group that has no room in a record
// that it shares is moved to another, unless what it leaves behind would be small.
//
// Order costs requests: a failed first and a stored second record of a key would be out of order, so a
// request has one record a key, which for Firehose is 500 events. Billed bytes over payload bytes, under
// virtual time with MaxDelay 1 s, in Firehose's shape (cost_test.go; before is without the three rules):
//
//	events/s   size    keys               before   now
//	500        512 B   1, 24 or 1,000     1.011    1.003
//	600        512 B   1,000              1.025    1.003
//	100        512 B   1,000              1.045    1.007
//	20         512 B   1,000              1.104    1.037
//	2,000      100 B   1,000              1.044    1.012   (1.010 of it are the newlines)
//	3,000      100 B   1,000, one hot     1.060    1.013
//
// MiB a request (of at most 3) while a backlog is shipped:
//
//	size    keys                   in a key's order   in any order
//	512 B   1,000                  2.94               2.94
//	512 B   24                     2.5                2.94
//	512 B   1,000, one has half    0.45               2.94
//	512 B   1                      0.24               2.94
//	100 B   1,000                  2.84               2.84
//	100 B   24                     1.0                2.84
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
// # Figures
//
// A backlog of 1 KiB events shipped through the SDK to a server that answers at once, in the same process
// (2 cores, Linux 6.18, November 2026; go test -run xxx -bench Drain ./shipper/sink -args -drain.bytes
// 1073741824; MB/s a core counts the processor time of both ends, anonymous memory too):
//
//	                           MB/s   MB/s a core   at 50 ms round trip   memory
//	Firehose, 24 keys           330           185               74 MB/s   138 MiB
//	Firehose, 10,000 keys       185           184              123 MB/s   121 MiB
//	Kinesis, 24 keys            275           159              106 MB/s   109 MiB
//	Kinesis, 10,000 keys        289           149               54 MB/s   116 MiB
//
// What costs most is the system calls of the connection, base64 and, for Kinesis, the MD5 of the KPL's
// format (15 to 18 % each), then the SHA-256 of the signature (9 to 12 %). Without the network, reading,
// packing, framing and settling run at 280 to 380 MB/s a core.
//
// # What is assumed
//
// A sink tells the truth about what is stored. A timeout's outcome is unknown: those records are
// sent again and may arrive twice. Amazon's services give no order across records but the order
// of acknowledged requests, which is what lanes are built on.
package shipper
