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
//   - Only failed records are sent again. HTTP 200 is no success before every entry was looked at.
//   - A lane that is rejected for a day holds back no other, and costs no memory to speak of: its
//     waiting events are evicted and read again from the log when it moves.
//   - An event leaves the ledger's pending as delivered, dead or dropped, once, in the same step in
//     which its lane's checkpoint moves past it.
//   - After a crash, events that were in flight and events delivered since the last checkpoint (at most
//     250 ms before) are sent again, nothing else.
//   - Memory is bounded by Options.Memory and the requests under way, for any backlog and any events: attributes
//     count as the payload does. One lane may fill a quarter of it.
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
// While producers append, a backlog is read at 32 MiB a second and half again what its own stream grows by: it
// shrinks whatever they send, and leaves them the processors and the disk: 0.87 and 0.89 of the rate that one unary
// producer has beside an idle shipper, 0.77 and 1.04 of 64 producers', 0.68 and 0.79 with 100 events each, and 0.78 to
// 0.81 of a stream's (go test ./agent -run xxx -bench
// BesideABacklog -benchtime 16000x). A tenth of a second after their
// last append it goes as fast as the destination takes it.
//
// # Drops
//
// The log requests drops by a floor: events below it are too old, or have to make room. Events that a request holds,
// and those behind them in their lanes, are dropped when the request has ended: the lane's checkpoint can't move past
// them before. So that no append waits for a hanging destination, a request that holds such events is cut off when it is
// 5 s old, and 0.5 s while the log is full, since then appends to every stream wait. Its outcome is unknown: events
// that it held may have been stored and count as dropped all the same. Batches are smaller after it, as after a
// timeout. A Send that does not return within 0.5 s of being cut off, as a write to a disk that hangs, counts as
// ended for drops; its lanes send nothing before it has returned.
//
// # The end
//
// Finish ships the rest. Halt sends nothing more and waits for the requests under way, at most until its context ends.
// Then it cuts them off, as the end of Run's context does. Run returns at most 0.5 s after that: a request that
// has not returned is left behind, and its events stay pending. Ended is closed when it has returned. Until then the
// Sink and the Place are in use, and a second owner would write at the same time.
//
// # Other orders
//
// Where a request carries one record (Shape.BatchRecords 1, OneKey), a lane's share is the events of
// the key at its queue's front, gathered from among the next 128; those of other keys are passed over
// and stay. Each lane waits for its own company, the longest waiting goes first, and as many lanes
// as Shape.InFlight says are under way at once. Where order does not matter (Shape.AnyOrder), a batch
// holds as many records of one key as fit; lanes, results and retries are the same.
//
// # Records by shard
//
// Where Shape.ByShard asks for it and the sink knows its shards, a record holds groups of all keys that
// lie in one shard, and goes out under the first of them: with very many small keys, one record a shard
// instead of one a key (3,000 events of 1,000 keys in 4 shards: over ten times fewer). A key's events are in
// one record of a request, as ever. When the stream was resharded and the record landed in a shard that does not
// hold all of its keys, all of its events go again at once, by the new map: Amazon's consumer library (KCL)
// discards such a record whole. A consumer with the library's check of hash ranges gets each event once; one
// without it gets the events of a stray record twice.
//
// Where a record's shard does not hold its key and the newest map does not explain it, the stream ignores keys or
// its responses are wrong. Aggregated records that strayed so are sent again too, as single events (see sink).
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
//	100        512 B   1,000              1.045    1.008
//	20         512 B   1,000              1.104    1.040
//	2,000      100 B   1,000              1.044    1.011   (1.010 of it are the newlines)
//	3,000      100 B   1,000, one hot     1.060    1.013
//
// MiB a request (of at most 3) while a backlog of 15 MiB is shipped, the last request among them
// (cost_test.go, -run ABacklogGoes -v):
//
//	size    keys     in a key's order   in any order
//	512 B   1,000    2.60
//	512 B   24       2.13
//	512 B   1        0.24               3.00
//	100 B   24       0.93
//
// # Compression and envelopes
//
// Where the Shape says so, each event gets a line of JSON around it (Envelope) whose id is unique for ever, and
// each record is compressed after it was framed, in the goroutine that sends it, with pooled encoders at
// their fastest level, in one pass. How far a record shrinks is known from those before: the record size to
// aim for is widened by nine tenths of that, within what would fit if it did not shrink at all, so
// none is ever too large. Bytes are billed, and paced, as they are sent.
//
// # Forecasts
//
// Predict forms the batches of made-up traffic with the shipper's own code and bills them with
// Shape.Billed; a test holds it against a shipper with a log. It takes keys and sizes to be even, and
// the service to answer at once.
//
// # Failure
//
// The Class of a request's failure decides how the shipper handles it; the sink sets it in one place. A request
// that fails as a whole makes the destination wait, with full jitter, and one request tries for
// all. A record that fails makes its lane wait. An operator's error is tried again about every
// Retry.Max. Poison is found by halving: the suspect lane's next batch goes alone with half of its
// events, until the rejected record has one event; only that event is buried. An intermediary
// such as a proxy may reject a request for its size (Error.TooLarge), which buries nothing: smaller
// requests are sent, down to one event, and that one waits for an operator in its lane (ceiling.go). After a
// timeout, batches are halved too, since a link may be too slow for a whole one.
//
// When a request gets through again, lanes that had failed wait no longer, except those whose own
// records are throttled or need an operator. The news also goes to the other shippers of the Link: what is
// left of their backoff, unless it is the service's wish, is cut to a random part of Retry.Initial. Four
// shippers whose link was down for an hour sent 0.6 to 2.5 s after it was back in three simulations (at most
// Retry.Max, 30 s, is promised), the last at most 90 ms after the first (link_test.go). An operator's error
// is tried again up to a fifth sooner than Retry.Max, so that agents do not come in lockstep.
//
// # Figures
//
// A backlog of 1 KiB events shipped through the SDK to a server that answers at once, in the same process
// (2 cores, Linux 6.18, November 2026; go test -run xxx -bench Drain ./shipper/sink -args -drain.bytes
// 1073741824; MB/s a core counts the processor time of both ends, anonymous memory too):
//
//	                           MB/s   MB/s a core   at 50 ms round trip   memory
//	Firehose, 24 keys           362           195              128 MB/s   128 MiB
//	Firehose, 10,000 keys       292           158              136 MB/s   113 MiB
//	Kinesis, 24 keys            278           150              105 MB/s   121 MiB
//	Kinesis, 10,000 keys        283           147               53 MB/s   117 MiB
//
// What costs most is the system calls of the connection, base64 and, for Kinesis, the MD5 of the KPL's
// format (15 to 18 % each), then the SHA-256 of the signature (9 to 12 %). Without the network, reading,
// packing, framing and settling run at 280 to 380 MB/s a core.
//
// # Pacing
//
// Each shard has token buckets of its quota (Shape.Quota), which hold a second's worth; a destination
// without shards has one pace. An event joins a batch only if its shard has room for it. A lane whose
// shard has none stays out until 0.6 s of the quota are there again, so that small records still share a
// request, and holds up no other lane's. An event that is larger than a bucket is owed.
//
// Throttling slows the smallest part that explains it: a lane alone, while others of its shard (or of a
// destination without shards) do well or send nothing; else the shard. Where the shards are not known it is
// always the lane. A request that fails as a whole is no evidence about any of them. Where there are no shards and a
// service begins to reject whole requests again within 5 s of the last time, the rate of all lanes is lowered, once
// each time.
//
// Throttling halves a pace, once for all requests under way, down to a 64th of the rate before it. 5 s after the
// last of it the pace is back at the rate that met it, where it lingers, and after 16 s at the rate before all
// throttling, however often it was halved. A lane then has no limit of its own any more. Where no quota is
// known, the rate before is the highest that the service took of late; it is doubled each 1.5 s from there,
// while records are taken, and let go at four times that. In a simulation (pace_internal_test.go) of 1 to 64
// shards and 0.1 to 100 MB/s, with a quota and without, 1.01 of the rate before was back within 20 s, and 0.99
// of it stayed. A throttled lane is tried again within 10 s, for any Retry.Max. A shard that comes with a
// reshard begins with a full bucket; one that stays keeps its pace.
//
// After an outage requests begin with one at a time, and double; after one of 10 s or more each pace begins
// with an eighth of what it was and doubles each second. In a simulation of four shards of 20 KB/s and
// 50 records/s, with events at six tenths of that and an outage from second 20 to 50 (pace_test.go,
// -run Backlog -v; Unpaced is how it was before):
//
//	                  paced                              Unpaced
//	second       requests/s   KB/s   throttled/s    requests/s   KB/s   throttled/s
//	 0 to 20        7.8       47.6       0             7.8       47.6        0
//	20 to 50        1.2        0         0             1.1        0          0
//	50 to 52        4.5       21.4       0           102.0       91.9      134.0
//	52 to 54        6.0       47.5       0           129.0       80.0      116.5
//	54 to 60        6.7       79.2       0           132.2       79.8      117.0
//	60 to 80        7.2       63.2       0            66.0       53.0       53.4
//
// Limits: with more than 64 shards several share a lane, and the slowest holds up their lane. Another
// destination, agent or producer that writes to the same shard is seen by its throttling only.
//
// # Bandwidth
//
// A Link caps the bytes of the requests' bodies a second (base64, JSON and retries count; headers, TLS and
// the few questions about a stream don't). A request is charged when it sets out and set right by what it
// sent, so it goes out whole, at the line's speed: over any time the Link carries at most its cap, a second's
// worth and a batch for each request at once that was charged too little. Batches are half a second's worth,
// 32 KiB at least. Shippers that wait are served by weight, high 16, normal 4, low 1 (start-time fair
// queueing), whatever their batches' sizes; what one does not use goes to the others, and nobody saves up.
// Three backlogs at 60,000 bytes/s for 40 s got 1.82, 0.45 and 0.13 MB. Options.Bandwidth is a Link of one.
//
// # What is assumed
//
// A sink tells the truth about what is stored. A timeout's outcome is unknown: those records are
// sent again and may arrive twice. Amazon's services give no order across records but the order
// of acknowledged requests, which is what lanes are built on.
package shipper
