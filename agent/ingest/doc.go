// Package ingest is where producers hand in events: over gRPC (standpipe.v1.Ingest), over a socket as newline-delimited JSON, over
// HTTP, over MQTT, and as the logs of OpenTelemetry. A Server is one listener. New binds its address, Serve serves it, Stop ends it.
//
// # The way of a request
//
//	grpcin    Append, AppendStream, Export ─┐
//	httpin    POST, GET, OTLP              ─┼─► intake.Submit ─► Log.Submit ─► Ticket ─► intake.Await ─► response
//	mqttin    PUBLISH                       │   (caller, rules)  (commit)
//	socketin  line                         ─┘
//
// Each protocol is a package below internal. They share internal/intake, which holds requests to the rules, submits them to the
// WAL and awaits their outcome. The decoding of OTLP is internal/otlp. The packages connlimit (connections), h2guard
// (half-sent gRPC requests) and jsonscan know nothing of the others.
//
// # Contract
//
// A request is stored whole or not at all, except that records of OTLP which break a rule are omitted and counted. Its response
// comes once it has reached its ack level. A rejected request has stored nothing. The rejection names the index of the event
// (from 0), the rule, the size and the limit, and never repeats a payload. Over gRPC google.rpc.ErrorInfo holds the
// counted reason and the index (metadata "event"), or the expected sequence ("next_sequence"), and google.rpc.RetryInfo the
// retry delay. A request that another agent relays in a loop is rejected.
//
// On an AppendStream the requests with a response are always a prefix of the sent requests. On a socket every line
// gets one response line, in order. Requests of one stream or connection are pipelined, so that many of them share a commit.
//
// # Ack levels
//
// accepted: the response comes when the WAL has queued the request. Its offset is unknown then, and first_offset is 0. Until the
// commit the request is in memory only, and a crash loses it. If the commit fails, its events are counted as rejected and in
// standpipe_accepted_lost_events_total, and an AppendStream ends. While the WAL is full, accepted is handled as durable.
//
// durable: the response comes when the request is synced to disk.
//
// delivered: the response comes when every destination has settled the events. If one of them was dead-lettered or dropped, the
// response has the level durable.
//
// # Callers
//
// Without a Guard every caller may send. With one, a gRPC or HTTP request is admitted before its body is read, and a connection to
// a socket at its start. An open stream or connection is checked again after a change of the identities or tokens. The check of the
// stream comes before the WAL is involved, and the check of the rate after all others. A rejection names the identity and
// the stream, never a token.
//
// # Assumptions
//
// The Log stores the batches that one goroutine submits in their order, and keeps no reference to a batch. Streams.Lookup is fast
// enough to be called for every request. The Log is open until Stop returns.
//
// # Limits
//
// A listener has MaxConnections. At the limit a new connection evicts the one that is idle longest past its idle timeout: 1 s
// before its first byte, then 10 s, and never while a request is in progress. The requests in progress over gRPC are not visible, so
// a gRPC stream that waits for deliveries counts as idle. If no connection is idle, the new one is rejected. A gRPC connection
// has 10 s for its handshake and is pinged after a minute of silence.
//
// The large and half-sent requests of a listener share a budget of 64 MiB, or of four of the largest; a small part of each
// connection is not counted. A request that exceeds the budget is rejected with a retry delay. The package of each protocol
// lists its other limits.
//
// # Stopping
//
// Stop first rejects new requests, then responds to the submitted ones, then closes the connections. Rejected requests get
// UNAVAILABLE, with a retry delay over OTLP and HTTP, or no response; nothing of them is stored.
package ingest
