// Package relay delivers to another standpipe over gRPC. Each event arrives once, even if either side is killed.
//
// # Contract
//
// A range is one AppendRequest. It is sent again, with the same events, until the receiver answers it. Delivered means
// stored at the receiver's ack level Options.Ack: by default the events are synced there. With client.AckDelivered every
// destination of the receiver has settled them. So a producer that waits for ack level delivered at the first agent gets
// its response when the second one has synced the event.
//
// Key, data, time and attributes arrive as they were appended. All events of a stream arrive in their order.
//
// The producer ID is the log's ID with its branch, the stream and the destination's name; the sequence is the offset.
// A receiver that has stored a range answers it as a duplicate. A sender that was killed may cut its events differently
// afterwards. If the receiver has a part of a range, it rejects the sequence and names the expected one. The events before
// that one are stored, and the sink sends the others. Events that were dropped or dead-lettered leave gaps, which are
// allowed.
//
// # Exceptions
//
// Events arrive twice if the receiver has evicted the producer since the first time (it has sent nothing for the
// receiver's wal.producer_idle, 168 h by default), has lost a part of its log, or if the destination was renamed.
//
// An event that this destination has skipped, because it was dropped, can't be sent later under the same producer ID: the
// receiver answers it as a duplicate.
//
// A receiver of a release without producer_next rejects the first gap. The destination is blocked then.
//
// # Loops
//
// A request carries its path in the metadata standpipe-path: how many agents its events have passed, and AGENT/STREAM of
// each. An agent adds itself to the paths of the requests that its stream has got in the last ten minutes. It rejects a
// request that names its own stream, or that has passed more than 16 agents. A path names at most 64 agents, the latest
// ones; a larger loop ends by the limit of 16. After a restart an agent has no paths, so the events of a loop may go
// round once before it is found.
//
// # Errors
//
// A receiver that is full or busy throttles, with its delay. An unknown stream, a rejected token or certificate, and a
// loop need an operator. An event is rejected for good if the receiver names it and a rule that it breaks.
//
// # Limits
//
//	1 MiB a request     or one event; halved while the receiver, or something on the way, rejects that as too large
//	8,192 events a request
//	one request at a time
//	one connection      HTTP/2, pinged after 30 s without a response
//
// A token is sent over TLS, or to this host. The files of the token and of TLS are read again when they have changed: the
// token for each request, the others for each connection.
package relay
