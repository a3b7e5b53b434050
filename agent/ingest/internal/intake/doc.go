// Package intake stores the requests of producers: the part of a listener that is the same for every protocol.
//
// # The way of a request
//
// A protocol admits the caller (Admit), decodes a Request, submits it (Submit) and awaits the outcome (Await, or Conclude where
// the protocol waits for the ticket itself). Submit holds the request to the caller's streams, to the rules of the stream and to
// the caller's rate, in this order, and then hands the batch to the WAL. The result is a Response or a Rejection.
//
// # Contract
//
// Submit never blocks on the disk. A rejected request has stored nothing, unless the rejection states that the events are stored
// and only their delivery is unknown. A Rejection names the event, the value, the limit and the place, and holds no payload. It
// carries a gRPC code, from which every protocol derives its own status, and a counted reason.
//
// Responses of ack level accepted precede the commit. The intake follows their tickets until the commit, and counts a failure
// as rejected and lost.
//
// # Assumptions
//
// The WAL keeps no reference to a batch after Submit, so that requests are pooled. Draining is closed before Close, and no
// request is submitted after Close.
//
// # Limits
//
// A budget limits the bytes or the number of units that the requests of a listener hold together. A request that exceeds it
// is rejected with a retry delay and never waits. 4,096 responses of ack level accepted may precede their commit; more wait.
package intake
