// Package h2guard bounds the memory that the half-sent requests of a gRPC listener hold.
//
// # Contract
//
// gRPC-go reads each request into memory as it arrives and has no bound for all requests together. A Guard reads the HTTP/2
// frames of each connection as they pass, and counts the bytes of messages that have not arrived whole and the requests in
// progress. Bytes beyond 64 KiB of a connection come from the listener's budget; requests beyond four of a connection come
// from Limits.MaxStreams. A request that exceeds either is rejected and the other requests of its connection continue:
// gRPC reads an RST_STREAM frame, as from the producer, and the producer gets trailers, as from gRPC.
//
// Before a request is rejected for want of bytes, the guard ends requests whose message has not grown for 10 s, or has taken
// longer than 30 s plus 30 s per 256 KiB, and releases their bytes. All other bytes pass unchanged.
//
// # Assumptions
//
// The guard relies on these properties of gRPC-go. An RST_STREAM frame from a client cancels the request. The data of a
// frame lies in buffers of 4 KiB and 16 KiB, with about 96 bytes beside them for each frame. The server uses the connection
// that ServerHandshake returns, and reads from one goroutine. The rejection's headers are literals that are never
// indexed, so they leave the connection's HPACK table unchanged. The tests named TestCanary check these properties against
// the linked versions of gRPC-go and golang.org/x/net.
//
// # Limits
//
// A producer that stops in the middle of a frame cannot be sent a rejection; its connection is closed after 10 s.
package h2guard
