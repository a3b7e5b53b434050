// Package httpin is the HTTP listener.
//
// # Contract
//
//	POST /v1/streams/STREAM?key=K   the body is an event, or each line of application/x-ndjson is
//	GET  a configured path          its query is an event (Pixel)
//	POST /v1/logs                   OTLP, where it is configured
//
// A request is stored whole or not at all. The caller is admitted after the header and before the body is read. A request with
// an Origin that is not configured is rejected with 403, because any page that is open on this host can send to a loopback address.
// Drain responds to the requests that have arrived whole, and rejects the others with 503 after a second.
//
// # Assumptions
//
// net/http clears the read deadline of a connection when it has read a request, and then reads ahead to notice a producer that
// closes. Connections use HTTP/1.1.
//
// # Limits
//
// A header has at most 16 KiB and 10 s. A request has read_timeout (30 s) to arrive, and as long again for every 256 KiB. A body
// has at most max_request_size bytes, compressed and decompressed, and 262,144 lines. The bodies of all connections share a
// budget of 64 MiB, or of four of the largest; the first 16 KiB of each are not counted. A body that exceeds the budget is
// rejected with 503. Two bodies are decompressed at a time, once they have arrived whole.
package httpin
