// Package pack puts events into the records and batches that a destination takes, at the lowest cost that order allows.
//
// A Batch is one request. It is filled lane by lane: each lane gives a prefix of its queue (Share), and each event joins
// the run of its key in a record (draft). Batch.Records then frames, and compresses, the records.
//
// # Contract
//
//   - Every record and batch stays within the Shape's limits, framing, keys, envelopes and compression included.
//   - A batch never has two records of one key, unless Shape.AnyOrder allows it: a failed first and a stored second
//     record would be out of order.
//   - A key's events are in a record in the order of their offsets.
//   - With a Pacer, an event joins only if its part and its lane have tokens (package pace).
//
// # Cost
//
// Where a service bills records in steps (Shape.BilledStep), a record is aimed at a whole number of steps. A record that
// nears its limit of events takes none that would begin a step which the remaining ones could not fill, and Align leaves
// events that barely begin a step in their lanes. A key's run that has no room left in a shared record moves to a record
// of its own, unless it would leave little behind.
//
// Where a request carries one record of one key (Shape.OneKey, BatchRecords 1), a lane's share is the events of the key
// at the front of its queue, among the next 128; events of other keys are passed over and stay.
//
// Where Shape.ByShard is set and the shards are known, a record has the runs of all keys of one shard and goes out
// under the first of them. A consumer library may discard such a record if the stream was resharded meanwhile: see
// Batch.Misrouted.
//
// # Envelopes and compression
//
// Envelope puts a line of JSON with a unique ID, or an array of MessagePack, around each event. Each record is compressed by itself after it was
// framed. The compression ratio of recent records (Ratio) widens the aimed record size, within the size that would fit
// if a record did not shrink at all, so no record is ever too large.
//
// # Limits
//
// A Batch is used by one goroutine until Seal, and from then on is only read: Records may run in another goroutine
// while the shares are looked at. Batches of one Builder are made one after the other.
package pack
