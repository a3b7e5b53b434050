// Package shipper delivers a stream's events from the log to one destination, in order, with retry, for as long as that
// takes.
//
//	Source ─► feed ─► lanes ─► batcher ─► dispatch ─► Sink ─► destination
//	                    ▲                                │
//	                    └────────── settle ◄── outcome ──┘
//	                                  └─► Cursor: checkpoints and ledger, one step
//
// # Contract
//
//   - Events of one key reach the destination in the order of their offsets, through retries, partial failures and
//     restarts. Two requests never have events of one lane at the same time, and no request has two records of one key,
//     except where Shape.AnyOrder is set.
//   - Only failed records are sent again.
//   - An event leaves the ledger's pending once, as delivered, dead or dropped, in the step in which its lane's
//     checkpoint moves past it.
//   - A failing lane holds back no other lane, and its waiting events cost no memory: they are evicted, and read again
//     later.
//   - After a crash, the events of the requests under way, and events delivered since the last durable checkpoint, are
//     sent again. No other events are.
//   - Events to be dropped (Cursor.Floor) are dropped at once, or when their request has ended. Such a request is cut off
//     after 5 s, or after 0.5 s while the log is full, so no append waits for a destination that hangs. The request may
//     have stored events that count as dropped.
//   - Finish ships the rest. Halt starts no more requests and waits for those under way until its context ends. Run
//     returns at most 0.5 s after its own context, or Halt's, has ended; requests that have not returned by then are
//     left behind (ErrStuck), and the Sink and the Cursor stay in use until Ended is closed.
//
// # Lanes and batches
//
// A lane is 1/64 of Kinesis's hash-key space. Its part of a batch is a prefix of its queue, so a failed event is still
// the front of the queue. If some events of a part failed, the settled runs behind them are part of the lane's progress,
// and the lane sends nothing newer before it has caught up. A destination with the order of the whole stream has one lane
// that stands for all 64.
//
// Each lane has its own read position. The feed reads for the lane that was served longest ago, and for the lanes near it.
// While producers append, a backlog is read at a limited rate (readthrottle.go).
//
// A batch goes when it is as large as the destination's requests should be, or full, when its oldest event has waited
// MaxDelay, when failed events are sent again, or when the agent stops. Package pack forms records and batches, package
// pace keeps to quotas, and package link shares the bandwidth.
//
// New events at the log's end stay in the log while they wait (growth.go): one read takes them when their batch is due, or
// when there may be enough of them for one that is not. So a shipper of a quiet stream wakes and reads once a batch.
//
// # Failures
//
// Error.Class decides how the shipper handles a failure; the sink sets it in one place. If a request fails as a whole, the
// destination backs off with full jitter, and one request tries for all. If a record fails, its lane backs off. Errors
// that need an operator are tried again about every Retry.Max. A rejected event is found by halving its lane's batches,
// and becomes a dead letter when its record has no other event. Requests that are too large for an intermediary are made
// smaller, and so are those that the link takes long for (package sizing). While an endpoint is out of reach, one shipper of
// the Link tries it for all (package link). When a request gets through, failed lanes try again at once, except those that are
// throttled or need an operator, and other shippers of the Link cut their backoff short.
//
// # Assumptions
//
// A sink reports a record as stored only if it is. The outcome of a timeout is unknown: its records are sent again and may
// arrive twice. Amazon's services keep the order of acknowledged requests, and of nothing else.
//
// # Limits
//
// Options.Memory and the requests under way limit the memory, for any backlog; attributes count like payloads.
// One lane uses at most a quarter of it. With more than 64 shards several share a lane, and the slowest holds up that
// lane. Predict assumes even keys and sizes, and a service that responds at once.
package shipper
